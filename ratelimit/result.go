package ratelimit

import (
	"math"
	"time"
)

// Result is the answer to a call on one limit.
type Result struct {
	// Limit is the limit of the call.
	Limit Limit
	// Allowed is the number of units taken; 0 if the call was refused.
	Allowed int
	// Remaining is the number of units that a next call could take now. In a refusal it is 0, as in redis_rate, even if a
	// smaller cost would fit.
	Remaining int
	// RetryAfter is the time until the same call fits if no other call takes units; -1 if it was not refused. A cost above
	// the burst never fits. RetryAfter is then, as in redis_rate, the time until the limit has been idle for long enough.
	RetryAfter time.Duration
	// ResetAfter is the time until the whole burst is free if no other call takes units.
	ResetAfter time.Duration
}

// fill sets the state after a call. units is how far the TAT is ahead.
func (r *Result) fill(interval, units float64) {
	r.Remaining = r.Limit.Burst
	if room := math.Floor(float64(r.Limit.Burst) - units); room < float64(r.Limit.Burst) { // both are rounded above 2^53
		r.Remaining = max(int(room), 0)
	}
	r.RetryAfter = -1
	r.ResetAfter = duration(units * interval)
}

// refuse sets the refusal of a cost.
func (r *Result) refuse(interval, units, cost float64) {
	r.RetryAfter = max(duration((units+cost-float64(r.Limit.Burst))*interval), 1)
	r.ResetAfter = duration(units * interval)
}

// duration converts seconds to a Duration, and saturates.
func duration(seconds float64) time.Duration {
	ns := seconds * 1e9
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(math.Round(ns))
}
