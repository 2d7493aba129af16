package ratelimit

import (
	"math"
	"time"
)

// Result is the answer to a call on one limit.
type Result struct {
	// Limit is the limit that the call was made with.
	Limit Limit
	// Allowed is how many units were taken: 0 if the call was refused.
	Allowed int
	// Remaining is how many units could be taken now. It is 0 in a refusal, as in redis_rate, even if a smaller cost
	// would have fit.
	Remaining int
	// RetryAfter is when the same call would fit if nobody else came; -1 if it wasn't refused. For a cost above the
	// burst it is when the limit would have been idle for long enough, as in redis_rate: no call ever gets there.
	RetryAfter time.Duration
	// ResetAfter is when the limit would be at rest, with its whole burst free, if nobody else came.
	ResetAfter time.Duration
}

// fill sets the state after a call: units is the TAT's distance in units.
func (r *Result) fill(interval, units float64) {
	r.Remaining = max(int(math.Floor(float64(r.Limit.Burst)-units)), 0)
	r.RetryAfter = -1
	r.ResetAfter = duration(units * interval)
}

// refuse sets a refusal of cost.
func (r *Result) refuse(interval, units, cost float64) {
	r.RetryAfter = max(duration((units+cost-float64(r.Limit.Burst))*interval), 1)
	r.ResetAfter = duration(units * interval)
}

// duration turns seconds into a Duration, the longest one where they are more than fits.
func duration(seconds float64) time.Duration {
	ns := seconds * 1e9
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(math.Round(ns))
}
