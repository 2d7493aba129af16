package batch

import (
	"context"
	"time"
)

// Hooks observe a run. Each is optional. Hooks are called from several goroutines at once, have the call's context, and must
// return quickly.
type Hooks struct {
	// CallStarted is called when a worker takes an input.
	CallStarted func(context.Context)
	// CallEnded is called when the call of an input has ended.
	CallEnded func(context.Context, CallEnd)
	// InputRejected is called for an error that the sequence has in place of an input. Its context is the run's.
	InputRejected func(context.Context, error)
}

// CallEnd is the call of an input that has ended.
type CallEnd struct {
	Latency time.Duration
	Err     error // nil: success; it matches ErrDrained if a drain ended the call before it began
}
