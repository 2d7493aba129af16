package ratelimit_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/ratelimit"
)

func flush(t *testing.T, rdb *redis.Client) {
	t.Helper()
	if err := rdb.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestLostState_IsRestoredAfterFlush checks that each process restores the state that it received.
func TestLostState_IsRestoredAfterFlush(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		limit := ratelimit.PerHour(10)
		a, b, stranger := ratelimit.NewLimiter(rdb), ratelimit.NewLimiter(rdb), ratelimit.NewLimiter(rdb)
		for _, l := range []*ratelimit.Limiter{a, b} {
			if _, err := l.AllowN(t.Context(), "k", limit, 3); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, rdb)
		remaining(t, stranger, limit, 10) // no process has restored the state
		remaining(t, a, limit, 7)         // a doesn't have b's charge
		remaining(t, stranger, limit, 7)
		remaining(t, b, limit, 4)
		remaining(t, a, limit, 4)
		remaining(t, stranger, limit, 4)
	})
}

// TestLostState_IsRestoredAfterFailover does the same for a failover to a replica that lagged.
func TestLostState_IsRestoredAfterFailover(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		limit := ratelimit.PerHour(10)
		a, b := ratelimit.NewLimiter(rdb), ratelimit.NewLimiter(rdb)
		if _, err := a.AllowN(t.Context(), "k", limit, 2); err != nil {
			t.Fatal(err)
		}
		old := rdb.Get(t.Context(), "rate:k").Val()
		if _, err := a.AllowN(t.Context(), "k", limit, 5); err != nil {
			t.Fatal(err)
		}
		if err := rdb.Set(t.Context(), "rate:k", old, 0).Err(); err != nil {
			t.Fatal(err)
		}
		remaining(t, b, limit, 8)
		remaining(t, a, limit, 3)
		remaining(t, b, limit, 3)
	})
}

// TestRefund_IsNotUndone checks that a process with a state from before a refund doesn't restore it.
func TestRefund_IsNotUndone(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		limit := ratelimit.PerHour(10)
		a, b := ratelimit.NewLimiter(rdb), ratelimit.NewLimiter(rdb)
		r, err := a.Reserve(t.Context(), ratelimit.Charge{Key: "k", Limit: limit, Cost: 6})
		if err != nil {
			t.Fatal(err)
		}
		remaining(t, b, limit, 4)
		r.Cancel()
		r.Cancel()
		remaining(t, a, limit, 10)
		remaining(t, b, limit, 10)
		remaining(t, a, limit, 10)
	})
}

// TestReset_IsNotUndone checks Reset against processes with older states, before and after a flush.
func TestReset_IsNotUndone(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		limit := ratelimit.PerHour(10)
		a, b := ratelimit.NewLimiter(rdb), ratelimit.NewLimiter(rdb)
		for _, flushed := range []bool{false, true} {
			for _, l := range []*ratelimit.Limiter{a, b} {
				if _, err := l.AllowN(t.Context(), "k", limit, 5); err != nil {
					t.Fatal(err)
				}
			}
			if flushed {
				flush(t, rdb)
			}
			if err := a.Reset(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
			remaining(t, b, limit, 10)
			remaining(t, a, limit, 10)
			if _, err := a.AllowN(t.Context(), "k", limit, 10); err != nil {
				t.Fatal(err)
			}
			remaining(t, b, limit, 0)
			if err := b.Reset(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
			remaining(t, a, limit, 10)
		}
		if ttl := rdb.PTTL(t.Context(), "rate:k").Val(); ttl <= 0 {
			t.Errorf("the key is left for ever: %v", ttl)
		}
	})
}
