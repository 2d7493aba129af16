package ratelimit_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/ratelimit"
)

// lonely returns a Limiter with LocalShare that has lost its Redis. Its share is the whole limit.
func lonely(t *testing.T) (faults *redistest.Faults, l, other *ratelimit.Limiter) {
	t.Helper()
	faults, l, other = faulty(t, ratelimit.Config{Outage: ratelimit.LocalShare, Timeout: 5 * time.Second})
	if _, err := l.Peek(t.Context(), "k", ratelimit.PerHour(20)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the process is counted", func() bool { return l.Clients() == 1 })
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
	testkit.Eventually(t, "the other process sees the usage", func() bool {
		_, _ = l.Peek(t.Context(), "warm", limit)
		res, err := other.Peek(t.Context(), "k", limit)
		return err == nil && res.Remaining == want
	})
}

// TestOutage_CancelReturnsShare cancels and settles during an outage: the share has the units again, and the report has only the
// units that were used.
func TestOutage_CancelReturnsShare(t *testing.T) {
	faults, l, other := lonely(t)
	limit := ratelimit.PerHour(20)
	a, b, c := reserve(t, l, limit, 10), reserve(t, l, limit, 4), reserve(t, l, limit, 6)
	if res, err := l.Allow(t.Context(), "k", limit); err != nil || res.Allowed != 0 {
		t.Fatalf("got %+v, %v; want a refusal", res, err)
	}
	c.Cancel()
	c.Cancel()
	settle(t, b, 1) // 3 back
	if res, err := l.AllowN(t.Context(), "k", limit, 9); err != nil || res.Allowed != 9 {
		t.Fatalf("got %+v, %v; want what was given back", res, err)
	}
	if err := b.Settle(0); !errors.Is(err, ratelimit.ErrSettled) {
		t.Errorf("got %v, want ErrSettled", err)
	}
	settle(t, a, 2) // later charges exclude a refund to the share
	if res, err := l.AllowN(t.Context(), "k", limit, 9); err != nil || res.Allowed != 0 {
		t.Fatalf("got %+v, %v; want a refusal", res, err)
	}
	remaining(t, other, limit, 20)
	backWith(t, faults, l, other, limit, 20-(2+1+9))
}

// TestOutage_SettlesAfterReport cancels and settles after the report.
func TestOutage_SettlesAfterReport(t *testing.T) {
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

// TestOutage_SettlesDuringReport cancels and settles while the report is in flight.
func TestOutage_SettlesDuringReport(t *testing.T) {
	faults, l, other := lonely(t)
	limit := ratelimit.PerHour(20)
	a, b, c := reserve(t, l, limit, 3), reserve(t, l, limit, 4), reserve(t, l, limit, 5)
	faults.Heal()
	telling := faults.HoldReply(redistest.Contains("\r\n$1\r\nd\r\n"))
	testkit.Eventually(t, "the report is in flight", func() bool {
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

// TestOutage_WaitEndsWithContext ends the context of a waiter during an outage: its booking is given back.
func TestOutage_WaitEndsWithContext(t *testing.T) {
	faults, l, other := lonely(t)
	limit := ratelimit.PerHour(20)
	if err := l.WaitN(t.Context(), "k", limit, 20); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := l.WaitN(ctx, "k", limit, 10); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	r := reserve(t, l, limit, 1)
	if d := r.Delay(); d > 3*time.Minute {
		t.Errorf("the next booking is %v away, want 3 minutes: the booking wasn't given back", d)
	}
	r.Cancel()
	backWith(t, faults, l, other, limit, 0)
}

// TestOutage_KeepsSettlements settles earlier bookings during an outage that is longer than a few tries.
func TestOutage_KeepsSettlements(t *testing.T) {
	var tries atomic.Int64
	faults, l, other := faulty(t, ratelimit.Config{Hooks: ratelimit.Hooks{ScriptCalled: func(_ context.Context, b ratelimit.ScriptCall) {
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
	testkit.Eventually(t, "Redis has been tried twice", func() bool { return tries.Load() >= 2 })
	faults.Heal()
	testkit.Eventually(t, "the settlements arrive", func() bool { // without a further call
		res, err := other.Peek(t.Context(), "k", limit)
		return err == nil && res.Remaining == 14
	})
}
