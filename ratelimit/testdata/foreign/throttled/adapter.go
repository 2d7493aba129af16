// Package throttled has the interface of github.com/throttled/throttled/v2, as far as the tests of its rate limiter use it,
// on limits in Redis. The clock of the tests' store is that of the Redis.
package throttled

import (
	"context"
	"time"

	"github.com/penstock/penstock/ratelimit"
	"github.com/penstock/penstock/ratelimit/testdata/foreign/fakeredis"
)

// GCRAStoreCtx is the store that the tests pass. Only its clock is used.
type GCRAStoreCtx interface {
	GetWithTime(ctx context.Context, key string) (int64, time.Time, error)
	SetIfNotExistsWithTTL(ctx context.Context, key string, value int64, ttl time.Duration) (bool, error)
	CompareAndSwapWithTTL(ctx context.Context, key string, old, new int64, ttl time.Duration) (bool, error)
}

// Rate is a number of units per period.
type Rate struct {
	count  int
	period time.Duration
}

// PerSec returns n units per second.
func PerSec(n int) Rate { return PerDuration(n, time.Second) }

// PerDuration returns n units per period.
func PerDuration(n int, period time.Duration) Rate { return Rate{n, period} }

// RateQuota is a limit. MaxBurst is one less than the burst.
type RateQuota struct {
	MaxRate  Rate
	MaxBurst int
}

// RateLimitResult is the state after a call.
type RateLimitResult struct {
	Limit, Remaining       int
	ResetAfter, RetryAfter time.Duration
}

// GCRARateLimiterCtx is a Limiter with one limit for all keys.
type GCRARateLimiterCtx struct {
	store  GCRAStoreCtx
	server *fakeredis.Server
	limit  ratelimit.Limit
}

// NewGCRARateLimiterCtx returns a limiter whose Redis is its own.
func NewGCRARateLimiterCtx(store GCRAStoreCtx, q RateQuota) (*GCRARateLimiterCtx, error) {
	limit := ratelimit.Limit{Rate: q.MaxRate.count, Burst: q.MaxBurst + 1, Period: q.MaxRate.period}
	return &GCRARateLimiterCtx{store: store, server: fakeredis.New(), limit: limit}, limit.Validate()
}

// SetMaxCASAttemptsLimit is for tests that are left out.
func (g *GCRARateLimiterCtx) SetMaxCASAttemptsLimit(int) { panic("there is no store that can fail") }

// RateLimit is for tests that are left out.
func (g *GCRARateLimiterCtx) RateLimit(key string, n int) (bool, RateLimitResult, error) {
	return g.RateLimitCtx(context.Background(), key, n)
}

// RateLimitCtx takes n units. In a refusal, the result has what is left, and no RetryAfter for what never fits.
func (g *GCRARateLimiterCtx) RateLimitCtx(ctx context.Context, key string, n int) (bool, RateLimitResult, error) {
	_, now, err := g.store.GetWithTime(ctx, key)
	if err != nil {
		return false, RateLimitResult{}, err
	}
	g.server.Set(now.AddDate(60, 0, 0)) // the state's time begins in 2017
	res, err := g.server.Fresh().AllowN(ctx, key, g.limit, n)
	if err != nil {
		return false, RateLimitResult{}, err
	}
	out := RateLimitResult{
		Limit: g.limit.Burst, Remaining: res.Remaining,
		ResetAfter: res.ResetAfter.Round(time.Microsecond), RetryAfter: res.RetryAfter.Round(time.Microsecond),
	}
	limited := n > 0 && res.Allowed == 0
	if limited {
		peeked, err := g.server.Fresh().Peek(ctx, key, g.limit)
		if err != nil {
			return false, RateLimitResult{}, err
		}
		out.Remaining = peeked.Remaining
	}
	if n > g.limit.Burst || res.RetryAfter < 0 {
		out.RetryAfter = -1
	}
	return limited, out, nil
}
