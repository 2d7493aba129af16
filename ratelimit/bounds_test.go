package ratelimit_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/ratelimit"
)

// TestBatch_IsBounded checks the sizes of batches, and that several are in flight at a time.
func TestBatch_IsBounded(t *testing.T) {
	var mu sync.Mutex
	var batches []ratelimit.ScriptCall
	h := hold(t, ratelimit.Config{MaxBatch: 4, MaxKeys: 2, MaxInFlight: 2, Hooks: ratelimit.Hooks{
		ScriptCalled: func(_ context.Context, b ratelimit.ScriptCall) {
			mu.Lock()
			defer mu.Unlock()
			batches = append(batches, b)
		},
	}})
	for i := range 100 {
		h.wg.Go(func() {
			if _, err := h.Allow(t.Context(), fmt.Sprint(i%7), ratelimit.PerHour(1000)); err != nil {
				t.Error(err)
			}
		})
	}
	h.scripts.Wait(t, 2) // besides the one held
	h.release()
	testkit.Eventually(t, "all calls are in a batch", func() bool { // a hook may run after the answers
		mu.Lock()
		defer mu.Unlock()
		calls := 0
		for _, b := range batches {
			if b.Calls > 4 || b.Keys > 2 || b.Err != nil || b.RoundTrip <= 0 {
				t.Errorf("%+v", b)
			}
			calls += b.Calls
		}
		return calls == 103 // two to warm up, one held
	})
}

// TestHooks_AreCalled counts the calls of Admitted, Refused and Waited.
func TestHooks_AreCalled(t *testing.T) {
	bubble(t, func(t *testing.T, rdb *redis.Client) {
		var admittedUnits, refusals, local, waits int
		l, err := ratelimit.New(rdb, ratelimit.Config{Hooks: ratelimit.Hooks{
			Admitted: func(_ context.Context, d ratelimit.Decision) { admittedUnits += d.Cost },
			Refused: func(_ context.Context, d ratelimit.Decision) {
				refusals++
				if d.Local {
					local++
				}
				if d.Key != "k" || d.RetryAfter <= 0 || d.Cost != 2 {
					t.Errorf("%+v", d)
				}
			},
			Waited: func(_ context.Context, d time.Duration, err error) {
				waits++
				if d < 59*time.Minute || err != nil {
					t.Errorf("waited %v, %v", d, err)
				}
			},
		}})
		if err != nil {
			t.Fatal(err)
		}
		limit := ratelimit.PerHour(2)
		for range 3 { // admitted, refused, refused locally
			if _, err := l.AllowN(t.Context(), "k", limit, 2); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.WaitN(t.Context(), "k", limit, 2); err != nil {
			t.Fatal(err)
		}
		if admittedUnits != 4 || refusals != 2 || local != 1 || waits != 1 {
			t.Errorf("admitted %d units, refused %d, %d locally, waited %d times", admittedUnits, refusals, local, waits)
		}
	})
}

// TestRefusal_IsCached checks that calls on an exhausted limit don't ask Redis, and that this process's refunds
// take effect at once.
func TestRefusal_IsCached(t *testing.T) {
	faults := redistest.NewFaults(t)
	rdb := faults.Client(t, redistest.Client(t).Options())
	l, err := ratelimit.New(rdb, ratelimit.Config{RefusalTTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	limit := ratelimit.PerHour(10)
	r, err := l.Reserve(t.Context(), ratelimit.Charge{Key: "k", Limit: limit, Cost: 9})
	if err != nil {
		t.Fatal(err)
	}
	allow := func(n, want int) {
		t.Helper()
		if res, err := l.AllowN(t.Context(), "k", limit, n); err != nil || res.Allowed != want {
			t.Fatalf("got %+v, %v; want %d allowed", res, err, want)
		}
	}
	allow(2, 0)
	count := faults.Count(anyScript)
	for range 1000 {
		allow(2, 0)
	}
	if n := count.Hits(); n != 0 {
		t.Errorf("%d script calls for calls that can't fit", n)
	}
	allow(1, 1) // fits
	allow(1, 0)
	r.Cancel()
	allow(8, 8)
	if err := l.Reset(context.Background(), "k"); err != nil {
		t.Fatal(err)
	}
	allow(10, 10)
}

// TestLimiter_CountsManyKeysDuringSweeps uses many keys from many goroutines while entries are evicted all the time.
func TestLimiter_CountsManyKeysDuringSweeps(t *testing.T) {
	rdb := redistest.Client(t)
	l := ratelimit.NewLimiter(rdb)
	var wg sync.WaitGroup
	var allowed atomic.Int64
	limit := ratelimit.PerHour(3)
	for g := range 20 {
		wg.Go(func() {
			for i := range 100 {
				if g == 0 {
					l.EvictAll()
				}
				res, err := l.Allow(t.Context(), fmt.Sprint("k", i%50), limit)
				if err != nil {
					t.Error(err)
					return
				}
				allowed.Add(int64(res.Allowed))
				if _, err := l.Peek(t.Context(), fmt.Sprint("peek", g, i), limit); err != nil { // at rest at once
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := allowed.Load(); n != 150 {
		t.Errorf("%d units allowed, want 150", n)
	}
}
