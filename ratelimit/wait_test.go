package ratelimit_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/ratelimit"
)

// bubble runs f in a synctest bubble with a client of its Redis.
func bubble(t *testing.T, f func(t *testing.T, rdb *redis.Client)) {
	t.Helper()
	bubbleWith(t, func(t *testing.T, rdb *redis.Client, _ *testkit.BubbleServer) { f(t, rdb) })
}

// bubbleWith is bubble for tests that need the server.
func bubbleWith(t *testing.T, f func(t *testing.T, rdb *redis.Client, server *testkit.BubbleServer)) {
	t.Helper()
	testkit.Bubble(t, func(t *testing.T, server *testkit.BubbleServer) {
		rdb := server.Client(t)
		t.Cleanup(func() { time.Sleep(50 * time.Millisecond) }) // the Limiter's goroutines end
		f(t, rdb, server)
	})
}

// TestWait_KeepsOrder starts six waiters one after the other.
func TestWait_KeepsOrder(t *testing.T) {
	bubble(t, func(t *testing.T, rdb *redis.Client) {
		l := ratelimit.NewLimiter(rdb)
		limit := ratelimit.Limit{Rate: 10, Burst: 2, Period: time.Second}
		start := time.Now()
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				if err := l.Wait(t.Context(), "k", limit); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
				// Two at once, then one each 100 ms. The tolerance is for the estimate of Redis' clock.
				if took, want := time.Since(start), time.Duration(max(i-1, 0))*100*time.Millisecond; took < want ||
					took > want+5*time.Millisecond {
					t.Errorf("waiter %d: got %v, want %v", i, took, want)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		for i, got := range order[2:] {
			if got != i+2 {
				t.Errorf("order %v", order)
			}
		}
	})
}

// TestWait_EndsWithContext ends the context of a waiter: its booking is given back.
func TestWait_EndsWithContext(t *testing.T) {
	bubble(t, func(t *testing.T, rdb *redis.Client) {
		l := ratelimit.NewLimiter(rdb)
		limit := ratelimit.Limit{Rate: 1, Burst: 1, Period: time.Minute}
		if err := l.Wait(t.Context(), "k", limit); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		start := time.Now()
		if err := l.Wait(ctx, "k", limit); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want context.Canceled", err)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("returned after %v, want 10 s", took)
		}
		// The booking was given back, so the next one gets its time.
		time.Sleep(20 * time.Millisecond)
		r, err := l.Reserve(t.Context(), ratelimit.Charge{Key: "k", Limit: limit, Cost: 1})
		if err != nil {
			t.Fatal(err)
		}
		if d := r.Delay(); d < 49*time.Second || d > 51*time.Second {
			t.Errorf("got the next booking in %v, want 50 s", d)
		}
		r.Cancel()
		time.Sleep(time.Second)
	})
}

// TestMaxWait_RefusesLaterBooking books a time later than Config.MaxWait.
func TestMaxWait_RefusesLaterBooking(t *testing.T) {
	bubble(t, func(t *testing.T, rdb *redis.Client) {
		var refused []ratelimit.Decision
		l, err := ratelimit.New(rdb, ratelimit.Config{
			MaxWait: 2500 * time.Millisecond,
			Hooks:   ratelimit.Hooks{Refused: func(_ context.Context, d ratelimit.Decision) { refused = append(refused, d) }},
		})
		if err != nil {
			t.Fatal(err)
		}
		limit := ratelimit.Limit{Rate: 1, Burst: 1, Period: time.Second}
		for range 3 {
			if _, err := l.Reserve(t.Context(), ratelimit.Charge{Key: "k", Limit: limit, Cost: 1}); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		err = l.Wait(t.Context(), "k", limit)
		e, ok := errors.AsType[*ratelimit.Error](err)
		if !ok || !errors.Is(err, ratelimit.ErrMaxWait) || e.RetryAfter < 2900*time.Millisecond {
			t.Fatalf("got %v, want ErrMaxWait", err)
		}
		if took := time.Since(start); took > time.Millisecond {
			t.Errorf("refused after %v", took)
		}
		if len(refused) != 1 || refused[0].Key != "k" {
			t.Errorf("got refusals %+v, want one of k", refused)
		}
	})
}

// TestWait_JudgesDeadlinesSeparately starts waiters with and without a short deadline: each is judged by its own.
func TestWait_JudgesDeadlinesSeparately(t *testing.T) {
	bubble(t, func(t *testing.T, rdb *redis.Client) {
		l := ratelimit.NewLimiter(rdb)
		limit := ratelimit.Limit{Rate: 1, Burst: 1, Period: time.Second}
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				ctx := t.Context()
				if i%2 == 1 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, 500*time.Millisecond)
					defer cancel()
				}
				err := l.Wait(ctx, "k", limit)
				if i%2 == 1 && i > 1 && !errors.Is(err, ratelimit.ErrDeadline) || i%2 == 0 && err != nil {
					t.Errorf("waiter %d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if took := time.Since(start); took < 19*time.Second || took > 19100*time.Millisecond {
			t.Errorf("twenty waiters took %v, want 19 s", took)
		}
	})
}

// TestSettle_ReplacesCharge settles for less and for more than the charge, and once too often.
func TestSettle_ReplacesCharge(t *testing.T) {
	bubble(t, func(t *testing.T, rdb *redis.Client) {
		l := ratelimit.NewLimiter(rdb)
		requests, tokens := ratelimit.PerHour(10), ratelimit.PerHour(1000)
		book := func() *ratelimit.Reservation {
			r, err := l.Reserve(t.Context(), ratelimit.Charge{Key: "{a}requests", Limit: requests, Cost: 1},
				ratelimit.Charge{Key: "{a}tokens", Limit: tokens, Cost: 300})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		left := func(want int) {
			t.Helper()
			time.Sleep(10 * time.Millisecond)
			if res, err := l.Peek(t.Context(), "{a}tokens", tokens); err != nil || res.Remaining != want {
				t.Fatalf("got %+v, %v; want %d tokens remaining", res, err, want)
			}
		}
		a, b := book(), book()
		left(400)
		if err := a.Settle(1, 100); err != nil {
			t.Fatal(err)
		}
		left(600)
		if err := b.Settle(1, 500); err != nil {
			t.Fatal(err)
		}
		left(400)
		if err := a.Settle(1, 0); !errors.Is(err, ratelimit.ErrSettled) {
			t.Errorf("got %v, want ErrSettled", err)
		}
		a.Cancel()
		if err := book().Settle(1); !errors.Is(err, ratelimit.ErrInvalid) {
			t.Errorf("got %v, want ErrInvalid", err)
		}
		left(100)
	})
}

// TestObserve_LowersState observes quotas above and below the state, an outdated one, and one with a reset time.
func TestObserve_LowersState(t *testing.T) {
	bubble(t, func(t *testing.T, rdb *redis.Client) {
		l := ratelimit.NewLimiter(rdb)
		limit := ratelimit.PerMinute(60)
		peek := func() int {
			t.Helper()
			time.Sleep(10 * time.Millisecond)
			res, err := l.Peek(t.Context(), "k", limit)
			if err != nil {
				t.Fatal(err)
			}
			return res.Remaining
		}
		observe := func(r ratelimit.Quota) {
			t.Helper()
			if err := l.Observe("k", limit, r); err != nil {
				t.Fatal(err)
			}
		}
		observe(ratelimit.Quota{Remaining: 1000}) // above the state: no change
		if n := peek(); n != 60 {
			t.Errorf("%d remaining, want 60", n)
		}
		observe(ratelimit.Quota{Remaining: 20})
		if n := peek(); n != 20 {
			t.Errorf("%d remaining, want 20", n)
		}
		observe(ratelimit.Quota{Remaining: 50}) // out of order
		observe(ratelimit.Quota{Remaining: 0, Reset: time.Now().Add(-time.Second)})
		if n := peek(); n != 20 {
			t.Errorf("%d remaining, want 20", n)
		}
		// Nothing is available for 30 s, then one unit.
		observe(ratelimit.Quota{Remaining: 0, Reset: time.Now().Add(30 * time.Second)})
		if n := peek(); n != 0 {
			t.Errorf("%d remaining, want 0", n)
		}
		start := time.Now()
		if err := l.Wait(t.Context(), "k", limit); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 29*time.Second || took > 31*time.Second {
			t.Errorf("waited %v, want 30 s", took)
		}
	})
}
