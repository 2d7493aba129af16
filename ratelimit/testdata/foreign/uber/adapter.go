// Package ratelimit has the interface of go.uber.org/ratelimit, as far as its tests use it, on a limit in Redis. The tests'
// clock is that of the Redis.
package ratelimit

import (
	"context"
	"time"

	"github.com/penstock/penstock/ratelimit"
	"github.com/penstock/penstock/ratelimit/testdata/foreign/fakeredis"
	"github.com/penstock/penstock/ratelimit/testdata/foreign/uber/clock"
)

// Limiter is one limit.
type Limiter interface {
	// Take returns when a unit is available.
	Take() time.Time
}

// Option changes a limit.
type Option func(*limiter)

// WithoutSlack admits one unit per interval.
var WithoutSlack Option = WithSlack(0)

// WithSlack lets up to n units that were not used add up.
func WithSlack(n int) Option { return func(l *limiter) { l.limit.Burst = n + 1 } }

// Per sets the period.
func Per(d time.Duration) Option { return func(l *limiter) { l.limit.Period = d } }

// WithClock sets the clock.
func WithClock(m *clock.Mock) Option { return func(l *limiter) { l.clock = m } }

type limiter struct {
	server *fakeredis.Server
	clock  *clock.Mock
	limit  ratelimit.Limit
}

func newMutexBased(rate int, opts ...Option) Limiter       { return newLimiter(rate, opts) }
func newAtomicBased(rate int, opts ...Option) Limiter      { return newLimiter(rate, opts) }
func newAtomicInt64Based(rate int, opts ...Option) Limiter { return newLimiter(rate, opts) }

const key = "k"

// newLimiter returns a limit without slack, since a burst is full at first and slack is empty.
func newLimiter(rate int, opts []Option) *limiter {
	l := &limiter{server: fakeredis.New(), limit: ratelimit.Limit{Rate: rate, Burst: 11, Period: time.Second}}
	for _, o := range opts {
		o(l)
	}
	l.server.Set(l.clock.Now())
	if _, err := l.server.Limiter.AllowN(context.Background(), key, l.limit, l.limit.Burst-1); err != nil {
		panic(err)
	}
	return l
}

// Take takes one unit when it is available.
func (l *limiter) Take() time.Time {
	l.clock.Begin()
	defer l.clock.End()
	for {
		now := l.clock.Now()
		l.server.Set(now)
		res, err := l.server.Fresh().Allow(context.Background(), key, l.limit)
		if err != nil {
			panic(err)
		}
		if res.Allowed == 1 {
			return now
		}
		l.clock.Sleep(max(res.RetryAfter.Round(time.Microsecond), time.Microsecond)) // the precision of Redis' clock
	}
}

// NewUnlimited returns a limiter that admits everything.
func NewUnlimited() Limiter {
	return &limiter{server: fakeredis.New(), clock: clock.NewMock(), limit: ratelimit.Unlimited()}
}
