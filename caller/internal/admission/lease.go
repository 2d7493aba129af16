package admission

import (
	"context"
	"time"
)

// lease is the session in Redis that holds the permits of this process's calls in flight. Each script call renews it. If
// it can't be renewed, the contexts of these calls end before Redis gives their permits to other processes.
type lease struct {
	duration time.Duration
	reserve  time.Duration // what duration lacks of the session's TTL
	expire   func()        // called by the timer

	ends  time.Time // by the local clock; zero: no call needs the lease
	timer *time.Timer
	ctx   context.Context // of the calls in flight
	end   context.CancelFunc
}

func newLease(ttl time.Duration, expire func()) *lease {
	reserve := ttl / 20 // for clocks that drift, and for contexts to end in
	l := &lease{duration: ttl - reserve, reserve: reserve, expire: expire}
	l.begin()
	return l
}

// begin makes the context of the calls that are admitted from now on.
func (l *lease) begin() {
	l.ctx, l.end = context.WithCancel(context.Background()) //nolint:gosec // expired hands end on, or nothing is held
}

// renew is for a script call, sent at a time, that succeeded: the session lives for a TTL from then. needed says whether
// it holds permits. A call that was sent after the session's end renews nothing: the process was stopped, and the timer,
// which is due, ends the calls in flight.
func (l *lease) renew(sent time.Time, needed bool) {
	if !needed {
		l.ends = time.Time{}
		return
	}
	if !l.ends.IsZero() && sent.After(l.ends.Add(l.reserve)) {
		return
	}
	l.ends = sent.Add(l.duration)
	if l.timer == nil {
		l.timer = time.AfterFunc(time.Until(l.ends), l.expire)
	}
}

// expired is for the timer: it returns the function that ends the calls in flight if the lease wasn't renewed, and the time
// that they have left. Otherwise it sets the timer again, if a call needs the lease, and returns nil.
//
// Calls have time left if the timer was late by more than the reserve, because the process was stopped. Redis has given
// their permits to others by then. Answers that came in the meantime are read in that time instead of being asked for again.
func (l *lease) expired(now time.Time) (end func(), left time.Duration) {
	l.timer = nil
	if l.ends.IsZero() {
		return nil, 0
	}
	late := now.Sub(l.ends)
	if late < 0 {
		l.timer = time.AfterFunc(-late, l.expire)
		return nil, 0
	}
	if late > l.reserve {
		left = 2 * l.reserve
	}
	end = l.end
	l.ends = time.Time{}
	l.begin()
	return end, left
}

// stop stops the timer.
func (l *lease) stop() {
	l.ends = time.Time{}
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// leaseTimer ends the calls in flight if the lease has ended.
func (c *Controller) leaseTimer() {
	c.mu.Lock()
	end, left := c.lease.expired(time.Now())
	calls, failure := c.permits.inFlight, c.failure
	c.mu.Unlock()
	switch {
	case end == nil:
	case left == 0:
		c.endCalls(calls, failure, end)
	default:
		time.AfterFunc(left, func() {
			c.mu.Lock()
			calls := min(calls, c.permits.inFlight) // the others have their answers
			c.mu.Unlock()
			c.endCalls(calls, failure, end)
		})
	}
}

// endCalls ends the calls in flight whose lease is lost. failure is why it wasn't renewed; nil: the process was late.
func (c *Controller) endCalls(calls int, failure error, end func()) {
	if lost := c.cfg.Observer.LeaseLost; lost != nil && calls > 0 {
		lost(calls, failure)
	}
	end()
}
