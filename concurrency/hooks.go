package concurrency

import (
	"context"
	"time"
)

// Hooks observe a semaphore. Each is optional. Hooks are called synchronously, from several goroutines at once, and must
// return quickly. The context of Degraded is that of the request. The other events belong to no request, and their context
// carries nothing and doesn't end.
type Hooks struct {
	// LeaseLost is called when leases end before their release, with their number and the cause, which is an ErrLeaseLost.
	LeaseLost func(ctx context.Context, n int, cause error)
	// ScriptCalled is called after every script call that reports the session.
	ScriptCalled func(context.Context, ScriptCall)
	// RedisFailed is called when the semaphore begins to treat Redis as away, with the error of the last report.
	RedisFailed func(context.Context, error)
	// RedisRecovered is called when a report succeeds after RedisFailed.
	RedisRecovered func(context.Context)
	// Degraded is called for each permit request that Config.Outage decides instead of Redis, with the reason.
	Degraded func(context.Context, OutagePolicy, error)
}

// ScriptCall is one call of the semaphore's script.
type ScriptCall struct {
	// RoundTrip is the time from sending the call until its reply, or until the call was given up.
	RoundTrip time.Duration
	// Err is nil if there was a reply.
	Err error
}
