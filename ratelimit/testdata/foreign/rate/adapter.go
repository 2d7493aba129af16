// Package rate has the interface of golang.org/x/time/rate, as far as its tests use it, on a limit in Redis. The tests'
// clock is that of the Redis.
package rate

import (
	"context"
	"math"
	"time"

	"github.com/penstock/penstock/ratelimit"
	"github.com/penstock/penstock/ratelimit/testdata/foreign/fakeredis"
)

// Limit is a rate in events per second.
type Limit float64

// Inf is the rate that has no limit.
const Inf = Limit(math.MaxFloat64)

// InfDuration is the longest wait for a reservation.
const InfDuration = time.Duration(math.MaxInt64)

// Every returns the rate of one event per interval.
func Every(interval time.Duration) Limit {
	if interval <= 0 {
		return Inf
	}
	return Limit(float64(time.Second) / float64(interval))
}

// Limiter is one limit.
type Limiter struct {
	server *fakeredis.Server
	limit  ratelimit.Limit

	tokens          float64 // for the tests' logs
	last, lastEvent time.Time
}

// longest is the longest period that a limit may have.
const longest = 99 * 365 * 24 * time.Hour

// NewLimiter returns a Limiter whose Redis is its own.
func NewLimiter(r Limit, burst int) *Limiter {
	limit := ratelimit.Limit{Rate: 1, Burst: burst, Period: longest / time.Duration(max(burst, 1))}
	if r > Limit(1/limit.Period.Seconds()) {
		limit.Period = time.Duration(float64(time.Second) / float64(r))
	}
	if r == Inf {
		limit = ratelimit.Unlimited()
	}
	return &Limiter{server: fakeredis.New(), limit: limit}
}

const (
	key   = "k"
	grain = 50 * time.Millisecond // the tests' delays are multiples of it
)

// TokensAt returns the tokens that are left at t. After reservations they can be negative.
func (lim *Limiter) TokensAt(t time.Time) float64 {
	lim.server.Set(t)
	res, err := lim.server.Limiter.Peek(context.Background(), key, lim.limit)
	if err != nil {
		panic(err)
	}
	return float64(lim.limit.Burst) - float64(res.ResetAfter)/float64(lim.limit.Interval())
}

// AllowN takes n tokens at t, or none.
func (lim *Limiter) AllowN(t time.Time, n int) bool {
	lim.server.Set(t)
	res, err := lim.server.Limiter.AllowN(context.Background(), key, lim.limit, n)
	if err != nil {
		panic(err)
	}
	return n == 0 || res.Allowed == n
}

// Allow takes one token now, or none.
func (lim *Limiter) Allow() bool { return lim.AllowN(time.Now(), 1) }

// SetLimit is for tests that are left out.
func (lim *Limiter) SetLimit(Limit) { panic("limits that change are tested elsewhere") }

// SetLimitAt is for tests that are left out.
func (lim *Limiter) SetLimitAt(time.Time, Limit) { lim.SetLimit(0) }

// SetBurstAt is for tests that are left out.
func (lim *Limiter) SetBurstAt(time.Time, int) { lim.SetLimit(0) }

// WaitN is for benchmarks.
func (lim *Limiter) WaitN(ctx context.Context, n int) error {
	return lim.server.Limiter.WaitN(ctx, key, lim.limit, n)
}

// Reservation is a booking.
type Reservation struct {
	ok        bool
	timeToAct time.Time
	lim       *Limiter
	booking   *ratelimit.Reservation
}

// reserveN books n tokens at t, at most maxWait later.
func (lim *Limiter) reserveN(t time.Time, n int, maxWait time.Duration) Reservation {
	r, _ := lim.reserve(context.Background(), t, n, maxWait)
	return r
}

func (lim *Limiter) reserve(ctx context.Context, t time.Time, n int, maxWait time.Duration) (Reservation, error) {
	lim.server.Set(t)
	booking, err := lim.server.Limiter.ReserveWithin(ctx, maxWait, ratelimit.Charge{Key: key, Limit: lim.limit, Cost: n})
	if err != nil {
		return Reservation{lim: lim}, err
	}
	delay := (booking.Delay() + grain - 1).Truncate(grain) // Delay has become less since the booking
	return Reservation{ok: true, timeToAct: t.Add(delay), lim: lim, booking: booking}, nil
}

// CancelAt cancels the booking at t. The Limiter decides by the local clock whether its time has passed; the tests' clock is
// another.
func (r *Reservation) CancelAt(t time.Time) {
	if !r.ok || t.After(r.timeToAct) {
		return
	}
	r.lim.server.Set(t)
	r.booking.Cancel()
}

// wait books n tokens at t and waits for them with the test's timer.
func (lim *Limiter) wait(ctx context.Context, n int, t time.Time,
	newTimer func(time.Duration) (<-chan time.Time, func() bool, func()),
) error {
	r, err := lim.reserve(ctx, t, n, InfDuration)
	if err != nil {
		return err
	}
	delay := r.timeToAct.Sub(t)
	if delay <= 0 {
		return nil
	}
	ch, stop, advance := newTimer(delay)
	defer stop()
	advance()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		r.CancelAt(t)
		return ctx.Err()
	}
}
