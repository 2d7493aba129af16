package ratelimit_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/ratelimit"
)

// TestAllow_CountsDownThenRefuses takes the whole burst, is refused from Redis and from the cache, and has the burst again after Reset.
func TestAllow_CountsDownThenRefuses(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		l := ratelimit.NewLimiter(rdb)
		limit := ratelimit.PerHour(3)
		for want := 2; want >= 0; want-- {
			res, err := l.Allow(t.Context(), "k", limit)
			if err != nil {
				t.Fatal(err)
			}
			if res.Allowed != 1 || res.Remaining != want || res.RetryAfter != -1 {
				t.Fatalf("got %+v, want remaining %d", res, want)
			}
		}
		for range 2 { // from Redis, then from the cache
			res, err := l.Allow(t.Context(), "k", limit)
			if err != nil {
				t.Fatal(err)
			}
			if res.Allowed != 0 || res.Remaining != 0 || res.RetryAfter < 19*time.Minute || res.RetryAfter > 20*time.Minute {
				t.Fatalf("got %+v, want a refusal for 20 minutes", res)
			}
		}
		if err := l.Reset(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		if res, err := l.Allow(t.Context(), "k", limit); err != nil || res.Remaining != 2 {
			t.Fatalf("after Reset: %+v, %v", res, err)
		}
	})
}

// TestAllowAtMost_TakesWholeUnits asks for two units at a time of five.
func TestAllowAtMost_TakesWholeUnits(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		l := ratelimit.NewLimiter(rdb)
		limit := ratelimit.PerHour(5)
		for i, want := range []int{2, 2, 1, 0} {
			res, err := l.AllowAtMost(t.Context(), "k", limit, 2)
			if err != nil || res.Allowed != want {
				t.Fatalf("call %d: %+v, %v; want %d allowed", i, res, err, want)
			}
		}
	})
}

// TestLimiter_RefusesInvalidCalls makes a call with each kind of invalid limit, cost or list of charges.
func TestLimiter_RefusesInvalidCalls(t *testing.T) {
	l := ratelimit.NewLimiter(redistest.Client(t))
	for name, call := range map[string]func(ctx context.Context) error{
		"zero limit": func(ctx context.Context) error { _, err := l.Allow(ctx, "k", ratelimit.Limit{}); return err },
		"no rate": func(ctx context.Context) error {
			_, err := l.Allow(ctx, "k", ratelimit.Limit{Burst: 1, Period: time.Second})
			return err
		},
		"negative period": func(ctx context.Context) error {
			_, err := l.Allow(ctx, "k", ratelimit.Limit{Rate: 1, Burst: 1, Period: -1})
			return err
		},
		"negative cost": func(ctx context.Context) error {
			_, err := l.AllowN(ctx, "k", ratelimit.PerSecond(1), -1)
			return err
		},
		"huge cost": func(ctx context.Context) error {
			_, err := l.AllowN(ctx, "k", ratelimit.PerSecond(1), 1<<62)
			return err
		},
		"endless refill": func(ctx context.Context) error {
			_, err := l.Allow(ctx, "k", ratelimit.Limit{Rate: 1, Burst: 1 << 40, Period: time.Hour})
			return err
		},
		"burst above window": func(ctx context.Context) error {
			return l.Wait(ctx, "k", ratelimit.Window(5, time.Second, 6, 0))
		},
		"no charges": func(ctx context.Context) error { _, err := l.Admit(ctx); return err },
		"same key": func(ctx context.Context) error {
			c := ratelimit.Charge{Key: "k", Limit: ratelimit.PerSecond(1), Cost: 1}
			_, err := l.Admit(ctx, c, c)
			return err
		},
	} {
		if err := call(t.Context()); !errors.Is(err, ratelimit.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

// TestWait_RefusesCostAboveBurst checks the fields of the error for a cost above the burst.
func TestWait_RefusesCostAboveBurst(t *testing.T) {
	l := ratelimit.NewLimiter(redistest.Client(t))
	err := l.WaitN(t.Context(), "k", ratelimit.PerSecond(3), 4)
	e, ok := errors.AsType[*ratelimit.Error](err)
	if !ok || !errors.Is(err, ratelimit.ErrNeverFits) || e.Cost != 4 || e.Limit.Burst != 3 || e.Key != "k" {
		t.Fatalf("%v", err)
	}
}

// TestWait_SpacesCalls waits five times on a limit with a burst of 1.
func TestWait_SpacesCalls(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		l := ratelimit.NewLimiter(rdb)
		limit := ratelimit.Limit{Rate: 100, Burst: 1, Period: time.Second}
		start := time.Now()
		for range 5 {
			if err := l.Wait(t.Context(), "k", limit); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(start); d < 40*time.Millisecond {
			t.Fatalf("five waits took %v, want at least 40 ms", d)
		}
	})
}

// TestWait_RefusesPastDeadline books a time after the deadline of the context.
func TestWait_RefusesPastDeadline(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		l := ratelimit.NewLimiter(rdb)
		limit := ratelimit.PerHour(1)
		if err := l.Wait(t.Context(), "k", limit); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := l.Wait(ctx, "k", limit)
		e, ok := errors.AsType[*ratelimit.Error](err)
		if !ok || !errors.Is(err, ratelimit.ErrDeadline) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want ErrDeadline", err)
		}
		if e.RetryAfter < 59*time.Minute || e.RetryAfter > time.Hour {
			t.Errorf("got a booking %v away, want an hour", e.RetryAfter)
		}
	})
}
