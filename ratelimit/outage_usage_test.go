package ratelimit_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/ratelimit"
)

// lonely returns a Limiter with LocalShare that has lost its Redis, and shares it with nobody but the other.
func lonely(t *testing.T) (faults *redistest.Faults, l, other *ratelimit.Limiter) {
	t.Helper()
	faults, l, other = faulty(t, ratelimit.Config{Outage: ratelimit.LocalShare, Timeout: 5 * time.Second})
	if _, err := l.Peek(t.Context(), "k", ratelimit.PerHour(20)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return l.Clients() == 1 })
	faults.Refuse()
	return faults, l, other
}

func reserve(t *testing.T, l *ratelimit.Limiter, limit ratelimit.Limit, cost int) *ratelimit.Reservation {
	t.Helper()
	r, err := l.Reserve(t.Context(), ratelimit.Charge{Key: "k", Limit: limit, Cost: cost})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func settle(t *testing.T, r *ratelimit.Reservation, actual int) {
	t.Helper()
	if err := r.Settle(actual); err != nil {
		t.Fatal(err)
	}
}

// backWith heals the network and waits until the other process sees so many units.
func backWith(t *testing.T, faults *redistest.Faults, l, other *ratelimit.Limiter, limit ratelimit.Limit, want int) {
	t.Helper()
	faults.Heal()
	eventually(t, func() bool {
		_, _ = l.Peek(t.Context(), "warm", limit)
		res, err := other.Peek(t.Context(), "k", limit)
		return err == nil && res.Remaining == want
	})
}

// TestCancelWithoutRedis cancels and settles while Redis is away: the share has the units again, and Redis learns only of
// what was used.
func TestCancelWithoutRedis(t *testing.T) {
	faults, l, other := lonely(t)
	limit := ratelimit.PerHour(20)
	a, b, c := reserve(t, l, limit, 10), reserve(t, l, limit, 4), reserve(t, l, limit, 6)
	if res, err := l.Allow(t.Context(), "k", limit); err != nil || res.Allowed != 0 {
		t.Fatalf("%+v, %v; want a refusal", res, err)
	}
	c.Cancel()
	c.Cancel()
	settle(t, b, 1) // 3 back
	if res, err := l.AllowN(t.Context(), "k", limit, 9); err != nil || res.Allowed != 9 {
		t.Fatalf("%+v, %v; want what was given back", res, err)
	}
	if err := b.Settle(0); !errors.Is(err, ratelimit.ErrSettled) {
		t.Errorf("%v, want ErrSettled", err)
	}
	settle(t, a, 2) // others have been charged after it since: the share can't safely have this back
	if res, err := l.AllowN(t.Context(), "k", limit, 9); err != nil || res.Allowed != 0 {
		t.Fatalf("%+v, %v; want a refusal", res, err)
	}
	remaining(t, other, limit, 20)
	backWith(t, faults, l, other, limit, 20-(2+1+9))
}

// TestSettleAfterRedisIsBack cancels and settles when Redis has already been told.
func TestSettleAfterRedisIsBack(t *testing.T) {
	faults, l, other := lonely(t)
	limit := ratelimit.PerHour(20)
	a, b, c := reserve(t, l, limit, 3), reserve(t, l, limit, 4), reserve(t, l, limit, 5)
	backWith(t, faults, l, other, limit, 8)
	b.Cancel()
	backWith(t, faults, l, other, limit, 12)
	settle(t, c, 1)
	backWith(t, faults, l, other, limit, 16)
	settle(t, a, 6)
	backWith(t, faults, l, other, limit, 13)
}

// TestSettleWhileRedisIsTold cancels and settles while the script call that tells Redis is under way.
func TestSettleWhileRedisIsTold(t *testing.T) {
	faults, l, other := lonely(t)
	limit := ratelimit.PerHour(20)
	a, b, c := reserve(t, l, limit, 3), reserve(t, l, limit, 4), reserve(t, l, limit, 5)
	faults.Heal()
	telling := faults.HoldReply(redistest.Contains("\r\n$1\r\nd\r\n"))
	eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = l.Peek(ctx, "warm", limit)
		return telling.Hits() > 0
	})
	a.Cancel()
	settle(t, b, 6)
	settle(t, c, 5)
	remaining(t, other, limit, 8)
	telling.Release()
	backWith(t, faults, l, other, limit, 20-(6+5))
}

// TestWaitWithoutRedisEndsWithContext has a place given back whose waiter's context ended while Redis was away.
func TestWaitWithoutRedisEndsWithContext(t *testing.T) {
	faults, l, other := lonely(t)
	limit := ratelimit.PerHour(20)
	if err := l.WaitN(t.Context(), "k", limit, 20); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := l.WaitN(ctx, "k", limit, 10); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want context.Canceled", err)
	}
	r := reserve(t, l, limit, 1)
	if d := r.Delay(); d > 3*time.Minute {
		t.Errorf("the next place is %v away, want 3 minutes: the place wasn't given back", d)
	}
	r.Cancel()
	backWith(t, faults, l, other, limit, 0)
}

// TestSettlementsOutlastAnOutage settles, while Redis is away for longer than a few tries, what was booked before.
func TestSettlementsOutlastAnOutage(t *testing.T) {
	var tries atomic.Int64
	faults, l, other := faulty(t, ratelimit.Config{Hooks: ratelimit.Hooks{ScriptCalled: func(b ratelimit.ScriptCall) {
		if b.Calls == 0 && b.Err != nil {
			tries.Add(1)
		}
	}}})
	limit := ratelimit.PerHour(20)
	a, b := reserve(t, l, limit, 4), reserve(t, l, limit, 5)
	faults.Refuse()
	for range 5 { // the circuit opens
		if _, err := l.Peek(t.Context(), "k", limit); err == nil {
			t.Fatal("no error without Redis")
		}
	}
	b.Cancel()
	settle(t, a, 6)
	eventually(t, func() bool { return tries.Load() >= 2 })
	faults.Heal()
	eventually(t, func() bool { // by themselves
		res, err := other.Peek(t.Context(), "k", limit)
		return err == nil && res.Remaining == 14
	})
}
