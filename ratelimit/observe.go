package ratelimit

import (
	"fmt"
	"time"
)

// Quota is what a provider reports about its own limit, as in the headers X-RateLimit-Remaining and -Reset.
type Quota struct {
	// Remaining is the number of units that the provider would still accept. 0 or more.
	Remaining int
	// Reset is the time at which the provider starts a new count. Zero means unknown: Remaining is then the state now, and
	// refills at the limit's rate.
	Reset time.Time
	// Taken is the time of the report. Defaults to now. A report without Reset counts less the older it is. A report with
	// Reset has no effect after Reset.
	Taken time.Time
}

// Observe lowers the shared state of the key's limit to the provider's report. Until Reset the limit admits no more than
// Remaining units, spread over that time. Observe never raises the state, so a report that leaves more than the limit
// does has no effect. It returns at once: the report goes to Redis with the next call, or after a few milliseconds.
func (l *Limiter) Observe(key string, limit Limit, quota Quota) error {
	err := limit.Validate()
	if err == nil && (quota.Remaining < 0 || quota.Remaining > maxCost) {
		err = fmt.Errorf("%w: %d units remaining reported, must be from 0 to 2^52", ErrInvalid, quota.Remaining)
	}
	if err != nil {
		return &Error{Key: key, Limit: limit, Err: err}
	}
	now := time.Now()
	remaining := int64(quota.Remaining)
	switch {
	case !quota.Reset.IsZero() && !quota.Reset.After(now):
		return nil
	case quota.Reset.IsZero() && !quota.Taken.IsZero():
		remaining += int64(max(now.Sub(quota.Taken).Seconds(), 0) / limit.seconds())
	}
	if remaining >= maxCost {
		return nil
	}
	l.giveBack([]adjustment{{kind: adjustObserve, e: l.entry(key), limit: limit, cost: remaining, reset: quota.Reset}})
	return nil
}
