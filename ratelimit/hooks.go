package ratelimit

import "time"

// Hooks observe what a Limiter does. Each is optional, is called synchronously on the goroutine concerned, from many
// goroutines at once, and must return quickly.
type Hooks struct {
	// Admitted is called for each limit of a call that was admitted.
	Admitted func(Decision)
	// Refused is called for each call that was refused, with the limit that refused it.
	Refused func(Decision)
	// Waited is called when a Wait has come to its end, with the time from the place's booking: also if the context
	// ended first, and err says so.
	Waited func(waited time.Duration, err error)
	// Batch is called after every script call.
	ScriptCalled func(ScriptCall)
	// Degraded is called for each call that was answered by Config.Outage instead of Redis, with the reason.
	Degraded func(OutagePolicy, error)
}

// Decision is the answer to a call on one limit.
type Decision struct {
	Key        string // as given by the caller
	Limit      Limit
	Cost       int           // units taken, or asked for if refused
	RetryAfter time.Duration // of a refusal
	Local      bool          // refused without asking Redis
}

// ScriptCall is one script call.
type ScriptCall struct {
	Calls     int           // calls served, 0 if it only carried refunds and the like
	Keys      int           // Redis keys touched
	RoundTrip time.Duration // from sending to the reply
	Err       error         // nil if there was a reply
}

// decided tells the hooks of the answer to a call on one limit.
func (h *Hooks) decided(key string, res *Result, cost int, local bool) {
	if h.Admitted == nil && h.Refused == nil {
		return
	}
	d := Decision{Key: key, Limit: res.Limit, Cost: res.Allowed, Local: local}
	switch {
	case cost == 0:
	case res.Allowed > 0 && h.Admitted != nil:
		h.Admitted(d)
	case res.Allowed == 0 && h.Refused != nil:
		d.Cost, d.RetryAfter = cost, res.RetryAfter
		h.Refused(d)
	}
}

// decidedAll tells the hooks of the answer to a call on several limits.
func (h *Hooks) decidedAll(charges []Charge, a *Admission, local bool) {
	if !a.Allowed {
		if h.Refused != nil {
			c := charges[a.Refused]
			h.Refused(Decision{Key: c.Key, Limit: c.Limit, Cost: c.Cost, RetryAfter: a.RetryAfter, Local: local})
		}
		return
	}
	if h.Admitted == nil {
		return
	}
	for _, c := range charges {
		h.Admitted(Decision{Key: c.Key, Limit: c.Limit, Cost: c.Cost})
	}
}

// refusedPlace tells the hooks of a place that came too late.
func (h *Hooks) refusedPlace(e *Error) {
	if h.Refused != nil {
		h.Refused(Decision{Key: e.Key, Limit: e.Limit, Cost: e.Cost, RetryAfter: e.RetryAfter})
	}
}
