package caller

import (
	"context"
	"sync"
	"time"

	"github.com/penstock/penstock/concurrency"
)

// ErrLeaseLost ended an attempt: Redis couldn't be told of it for a TTL, or this process stood still for as long, so
// that other processes get its permit. The call is tried again where that is safe. See Config.OutliveLease.
var ErrLeaseLost = concurrency.ErrLeaseLost

// lease is what the permits of this process's calls in flight hang on: a session in Redis that is renewed with each
// script call. If it can't be, the contexts of those calls end before Redis gives the permits to others.
type lease struct {
	ttl  time.Duration
	lost func() // called when calls in flight have lost their permits

	mu    sync.Mutex
	ends  time.Time // by the local clock; zero: nobody counts on it
	timer *time.Timer
	ctx   context.Context // of the calls in flight; ends with ErrLeaseLost
	end   context.CancelCauseFunc
}

func newLease(ttl time.Duration, lost func()) *lease {
	l := &lease{ttl: ttl - ttl/20, lost: lost} // the rest is for clocks that drift, and for contexts to end in
	l.ctx, l.end = context.WithCancelCause(context.Background())
	return l
}

// renew is for a script call that got through: the session lives for a TTL from when it was sent.
func (l *lease) renew(sent time.Time, needed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !needed {
		l.ends = time.Time{}
		return
	}
	l.ends = sent.Add(l.ttl)
	if l.timer == nil {
		l.timer = time.AfterFunc(time.Until(l.ends), l.expire)
	}
}

// expire ends the calls in flight if the session wasn't renewed, or comes again.
func (l *lease) expire() {
	l.mu.Lock()
	l.timer = nil
	left := time.Until(l.ends)
	if l.ends.IsZero() || left > 0 {
		if left > 0 {
			l.timer = time.AfterFunc(left, l.expire)
		}
		l.mu.Unlock()
		return
	}
	end := l.end
	l.ends = time.Time{}
	l.ctx, l.end = context.WithCancelCause(context.Background())
	l.mu.Unlock()
	l.lost()
	end(ErrLeaseLost)
}

// current returns the context of the calls that are admitted now.
func (l *lease) current() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ctx
}

// close ends the watch.
func (l *lease) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = time.Time{}
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}
