package ratelimit_test

import (
	"testing"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/ratelimit"
)

// TestDeletedKey_CountsAsReset deletes the key of a limit, as redis_rate's Reset does. Two processes hold its state.
func TestDeletedKey_CountsAsReset(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) redis.UniversalClient{
		"server":  func(t *testing.T) redis.UniversalClient { return redistest.Start(t).Client(t) },
		"cluster": func(t *testing.T) redis.UniversalClient { return redistest.StartCluster(t, 0).Client(t) },
	} {
		t.Run(name, func(t *testing.T) {
			rdb := open(t)
			a := ratelimit.NewLimiter(rdb)
			b, err := ratelimit.New(rdb, ratelimit.Config{RefusalTTL: -1}) // a cached refusal would outlive the deletion
			if err != nil {
				t.Fatal(err)
			}
			limit := ratelimit.PerHour(10)
			take := func(l *ratelimit.Limiter, n, allowed, remaining int) {
				t.Helper()
				res, err := l.AllowN(t.Context(), "k", limit, n)
				if err != nil || res.Allowed != allowed || res.Remaining != remaining {
					t.Fatalf("got %+v, %v; want %d allowed and %d remaining", res, err, allowed, remaining)
				}
			}
			take(a, 4, 4, 6)
			take(b, 6, 6, 0)
			for range 3 {
				if err := redis_rate.NewLimiter(rdb).Reset(t.Context(), "k"); err != nil {
					t.Fatal(err)
				}
				take(a, 2, 2, 8)
				take(b, 1, 1, 7)
				take(a, 7, 7, 0)
				take(b, 1, 0, 0)
			}
		})
	}
}

// TestLostKey_IsRestored loses a limit's state in other ways than by a deletion. Each counts as a loss also after the history of the
// server was known.
func TestLostKey_IsRestored(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, server *redistest.Server){
		"FLUSHALL": func(t *testing.T, server *redistest.Server) {
			t.Helper()
			if err := server.Client(t).FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		},
		"restart": func(_ *testing.T, server *redistest.Server) {
			server.Kill()
			server.Restart()
		},
		"eviction": func(t *testing.T, server *redistest.Server) {
			t.Helper()
			rdb := server.Client(t)
			for _, args := range [][]any{{"config", "set", "maxmemory-policy", "volatile-ttl"}, {"config", "set", "maxmemory", "1"}} {
				if err := rdb.Do(t.Context(), args...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			rdb.Set(t.Context(), "x", "y", 0) // refused, after an attempt to evict
			if err := rdb.Do(t.Context(), "config", "set", "maxmemory", "0").Err(); err != nil {
				t.Fatal(err)
			}
			if n := rdb.Exists(t.Context(), "rate:k").Val(); n != 0 {
				t.Fatal("the key wasn't evicted")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			l := ratelimit.NewLimiter(server.Client(t))
			limit := ratelimit.PerHour(10)
			for range 2 {
				if _, err := l.AllowAtMost(t.Context(), "k", limit, 10); err != nil {
					t.Fatal(err)
				}
				lose(t, server)
				res, err := l.Allow(t.Context(), "k", limit)
				for err != nil {
					res, err = l.Allow(t.Context(), "k", limit) // the server starts
				}
				if res.Allowed != 0 {
					t.Fatalf("got %+v, want the state restored", res)
				}
			}
		})
	}
}
