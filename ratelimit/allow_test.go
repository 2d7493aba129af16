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

func TestAllowCountsDown(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		l := ratelimit.NewLimiter(rdb)
		limit := ratelimit.PerHour(3)
		for want := 2; want >= 0; want-- {
			res, err := l.Allow(t.Context(), "k", limit)
			if err != nil {
				t.Fatal(err)
			}
			if res.Allowed != 1 || res.Remaining != want || res.RetryAfter != -1 {
				t.Fatalf("%+v, want remaining %d", res, want)
			}
		}
		for range 2 { // from Redis, then from memory
			res, err := l.Allow(t.Context(), "k", limit)
			if err != nil {
				t.Fatal(err)
			}
			if res.Allowed != 0 || res.Remaining != 0 || res.RetryAfter < 19*time.Minute || res.RetryAfter > 20*time.Minute {
				t.Fatalf("%+v, want a refusal for 20 minutes", res)
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

func TestAllowAtMostTakesWholeUnits(t *testing.T) {
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

func TestInvalidIsRefused(t *testing.T) {
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

func TestNeverFits(t *testing.T) {
	l := ratelimit.NewLimiter(redistest.Client(t))
	err := l.WaitN(t.Context(), "k", ratelimit.PerSecond(3), 4)
	e, ok := errors.AsType[*ratelimit.Error](err)
	if !ok || !errors.Is(err, ratelimit.ErrNeverFits) || e.Cost != 4 || e.Limit.Burst != 3 || e.Key != "k" {
		t.Fatalf("%v", err)
	}
}

func TestWaitIsSpaced(t *testing.T) {
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

func TestWaitRefusesPastDeadline(t *testing.T) {
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
			t.Fatalf("%v, want ErrDeadline", err)
		}
		if e.RetryAfter < 59*time.Minute || e.RetryAfter > time.Hour {
			t.Errorf("place is %v away, want an hour", e.RetryAfter)
		}
	})
}
