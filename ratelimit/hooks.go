package ratelimit

import (
	"context"
	"time"
)

// Hooks observe a Limiter. Each hook is optional. It runs synchronously on the goroutine concerned, many goroutines may
// run it at once, and it must return quickly. The context is that of the call. A script call for several calls has the
// context of the first.
type Hooks struct {
	// Admitted is called for each limit of an admitted call.
	Admitted func(context.Context, Decision)
	// Refused is called for each refused call, with the limit that refused it.
	Refused func(context.Context, Decision)
	// Waited is called at the end of each Wait, with the time since the booking. err is the context's error if the context
	// ended first.
	Waited func(ctx context.Context, waited time.Duration, err error)
	// ScriptCalled is called after every script call.
	ScriptCalled func(context.Context, ScriptCall)
	// RedisFailed is called when a node's circuit opens, after three failures in a row, with the last error.
	RedisFailed func(context.Context, error)
	// RedisRecovered is called when a script call succeeds after RedisFailed.
	RedisRecovered func(context.Context)
	// Degraded is called for each call that Config.Outage answers, with the error that Redis or the circuit returned.
	Degraded func(context.Context, OutagePolicy, error)
}

// Decision is the answer to a call on one limit.
type Decision struct {
	Key        string // as given by the caller
	Limit      Limit
	Cost       int           // units taken; units asked for if refused
	RetryAfter time.Duration // of a refusal
	Local      bool          // refused from the cache, without asking Redis
}

// ScriptCall describes one script call.
type ScriptCall struct {
	Calls     int           // calls served; 0 if it carried only refunds, settlements or quotas
	Keys      int           // number of Redis keys
	RoundTrip time.Duration // from sending to the reply
	Err       error         // nil if there was a reply
}

// circuitChanged calls the hook for a circuit that opened or closed.
func (h *Hooks) circuitChanged(ctx context.Context, change circuitChange, err error) {
	switch {
	case change == circuitOpened && h.RedisFailed != nil:
		h.RedisFailed(ctx, err)
	case change == circuitClosed && h.RedisRecovered != nil:
		h.RedisRecovered(ctx)
	}
}

// decided calls the hooks for the answer to a call on one limit.
func (h *Hooks) decided(ctx context.Context, key string, res *Result, cost int, local bool) {
	if h.Admitted == nil && h.Refused == nil {
		return
	}
	d := Decision{Key: key, Limit: res.Limit, Cost: res.Allowed, Local: local}
	switch {
	case cost == 0:
	case res.Allowed > 0 && h.Admitted != nil:
		h.Admitted(ctx, d)
	case res.Allowed == 0 && h.Refused != nil:
		d.Cost, d.RetryAfter = cost, res.RetryAfter
		h.Refused(ctx, d)
	}
}

// decidedAll calls the hooks for the answer to a call on several limits.
func (h *Hooks) decidedAll(ctx context.Context, charges []Charge, a *Admission, local bool) {
	if !a.Allowed {
		if h.Refused != nil {
			c := charges[a.Refused]
			h.Refused(ctx, Decision{Key: c.Key, Limit: c.Limit, Cost: c.Cost, RetryAfter: a.RetryAfter, Local: local})
		}
		return
	}
	if h.Admitted == nil {
		return
	}
	for _, c := range charges {
		h.Admitted(ctx, Decision{Key: c.Key, Limit: c.Limit, Cost: c.Cost})
	}
}

// refusedBooking calls the hook for a booking that would be too late.
func (h *Hooks) refusedBooking(ctx context.Context, e *Error) {
	if h.Refused != nil {
		h.Refused(ctx, Decision{Key: e.Key, Limit: e.Limit, Cost: e.Cost, RetryAfter: e.RetryAfter})
	}
}
