package ratelimit

import (
	"context"
	"math"
	"time"
)

// never is a time, since the Limiter's start, that is later than any booking.
const never time.Duration = math.MaxInt64

// bound is the latest time of a booking.
type bound struct {
	until  time.Duration // since the Limiter's start; never: no bound
	within time.Duration // longest wait by Redis' clock; never: no bound
}

// unbounded permits every booking.
var unbounded = bound{until: never, within: never}

// wait returns the longest wait of a booking that is made now, which counts from the Limiter's start.
func (b bound) wait(now time.Duration) time.Duration {
	within := b.within
	if within > 0 && within < never {
		within = later(within, time.Microsecond) // the script computes in floating point
	}
	if b.until == never {
		return within
	}
	return max(min(within, b.until-now), 0)
}

// Wait is WaitN with n = 1.
func (l *Limiter) Wait(ctx context.Context, key string, limit Limit) error {
	return l.WaitN(ctx, key, limit, 1)
}

// WaitN books the earliest time for n units of the key's limit, and returns at that time. If ctx ends first, the booking
// is given back. The error is ErrNeverFits if n exceeds the burst. It is ErrDeadline or ErrMaxWait, at once, if the
// booking comes after the context's deadline or later than Config.MaxWait permits.
func (l *Limiter) WaitN(ctx context.Context, key string, limit Limit, n int) error {
	return l.WaitAll(ctx, Charge{Key: key, Limit: limit, Cost: n})
}

// WaitAll is WaitN on several limits, which are charged together.
func (l *Limiter) WaitAll(ctx context.Context, charges ...Charge) error {
	return l.WaitWithin(ctx, l.longestWait(), charges...)
}

// WaitWithin is WaitAll with maxWait in place of Config.MaxWait. It bounds the wait of this call, and not the context of
// what follows. The error is ErrMaxWait if the booking would come later.
func (l *Limiter) WaitWithin(ctx context.Context, maxWait time.Duration, charges ...Charge) error {
	if hasConstant(charges) {
		rest, _, blocked, err := withoutConstant(charges)
		switch {
		case err != nil:
			return err
		case blocked >= 0:
			return failure(charges, blocked, ErrNeverFits)
		case len(rest) == 0:
			return nil
		}
		charges = rest
	}
	t, err := l.reserve(ctx, maxWait, charges)
	if err != nil {
		return err
	}
	begin := time.Now()
	err = l.sleep(ctx, charges, t)
	if h := l.cfg.Hooks.Waited; h != nil {
		h(ctx, time.Since(begin), err)
	}
	return err
}

// sleep returns at the time of the booking. If the context ends first, it gives the booking back.
func (l *Limiter) sleep(ctx context.Context, charges []Charge, t ticket) error {
	p := &t.g.bookings[t.g.rank(t.i)]
	wait := time.Until(t.g.batch.local.Add(seconds(p.slot)))
	if p.slot == 0 || wait <= 0 || pause(ctx, wait) {
		return nil
	}
	l.giveBack(t.g.refund(t.i))
	return failure(charges, 0, contextError(ctx))
}

// seconds converts seconds to a Duration, rounded up, and saturates.
func seconds(s float64) time.Duration {
	ns := s * 1e9
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(math.Ceil(ns))
}
