package ratelimit

import (
	"context"
	"math"
	"time"
)

// never is the end, as time since the Limiter's start, of a wait without one.
const never time.Duration = math.MaxInt64

// Wait is WaitN for one unit.
func (l *Limiter) Wait(ctx context.Context, key string, limit Limit) error {
	return l.WaitN(ctx, key, limit, 1)
}

// WaitN books the earliest place in time for n units of the key's limit, and returns when it has come. If ctx ends
// before, the place is given back. The error is ErrNeverFits if n exceeds the burst, and ErrDeadline or ErrMaxWait, at
// once, if the place lies past the context's deadline or beyond Config.MaxWait.
func (l *Limiter) WaitN(ctx context.Context, key string, limit Limit, n int) error {
	return l.WaitAll(ctx, Charge{Key: key, Limit: limit, Cost: n})
}

// WaitAll is WaitN on several limits, which are charged together.
func (l *Limiter) WaitAll(ctx context.Context, charges ...Charge) error {
	t, err := l.reserve(ctx, charges)
	if err != nil {
		return err
	}
	begin := time.Now()
	err = l.sleep(ctx, charges, t)
	if h := l.cfg.Hooks.Waited; h != nil {
		h(time.Since(begin), err)
	}
	return err
}

// sleep returns when the reserved place has come, or gives it back when the context ends before.
func (l *Limiter) sleep(ctx context.Context, charges []Charge, t ticket) error {
	p := &t.g.bookings[t.g.rank(t.i)]
	wait := time.Until(t.g.batch.local.Add(seconds(p.slot)))
	if p.slot == 0 || wait <= 0 || pause(ctx, wait) {
		return nil
	}
	l.giveBack(t.g.refund(t.i))
	return failure(charges, 0, context.Cause(ctx))
}

// seconds is a Duration of so many seconds, rounded up.
func seconds(s float64) time.Duration {
	ns := s * 1e9
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(math.Ceil(ns))
}
