package ratelimit

import (
	"fmt"
	"time"
)

// Report is what a provider says about a limit of its own, as in the headers X-RateLimit-Remaining and -Reset.
type Quota struct {
	// Remaining is how many units the provider would still accept.
	Remaining int
	// Reset is when the provider begins a new count. Zero: the provider doesn't say, and Remaining is what is there now,
	// refilling at the limit's rate.
	Reset time.Time
	// Taken is when the report came. Defaults to now. One without Reset is worth less the older it is; one with Reset is
	// worth nothing once that has passed.
	Taken time.Time
}

// Observe lowers the shared state of the key's limit to what its provider reports: until Reset no more than Remaining
// units are admitted, spread over that time. It never raises the state: a report that leaves more than the configured
// limit does, or comes late, changes nothing. It returns at once; the report goes to Redis with the next call, or after
// a few milliseconds.
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
