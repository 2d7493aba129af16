package admission

import (
	"context"
	"time"
)

// lease is the session in Redis that holds the permits of this process's calls in flight. Each script call renews it. If
// it can't be renewed, the contexts of these calls end before Redis gives their permits to other processes.
type lease struct {
	duration time.Duration
	expire   func() // called by the timer

	ends  time.Time // by the local clock; zero: no call needs the lease
	timer *time.Timer
	ctx   context.Context // of the calls in flight
	end   context.CancelFunc
}

func newLease(ttl time.Duration, expire func()) *lease {
	l := &lease{duration: ttl - ttl/20, expire: expire} // the rest is for clocks that drift, and for contexts to end in
	l.begin()
	return l
}

// begin makes the context of the calls that are admitted from now on.
func (l *lease) begin() {
	l.ctx, l.end = context.WithCancel(context.Background()) //nolint:gosec // expired hands end on, or nothing is held
}

// renew is for a script call, sent at a time, that succeeded: the session lives for a TTL from then. needed says whether
// it holds permits.
func (l *lease) renew(sent time.Time, needed bool) {
	if !needed {
		l.ends = time.Time{}
		return
	}
	l.ends = sent.Add(l.duration)
	if l.timer == nil {
		l.timer = time.AfterFunc(time.Until(l.ends), l.expire)
	}
}

// expired is for the timer: it returns the function that ends the calls in flight if the lease wasn't renewed. Otherwise
// it sets the timer again, if a call needs the lease, and returns nil.
func (l *lease) expired(now time.Time) (end func()) {
	l.timer = nil
	if l.ends.IsZero() {
		return nil
	}
	if left := l.ends.Sub(now); left > 0 {
		l.timer = time.AfterFunc(left, l.expire)
		return nil
	}
	end = l.end
	l.ends = time.Time{}
	l.begin()
	return end
}

// stop stops the timer.
func (l *lease) stop() {
	l.ends = time.Time{}
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}
