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

// TestFailClosed_ReturnsErrors makes calls while Redis refuses connections.
func TestFailClosed_ReturnsErrors(t *testing.T) {
	faults, l, _ := faulty(t, ratelimit.Config{Timeout: 5 * time.Second})
	faults.Refuse()
	for range 5 {
		if res, err := l.Allow(t.Context(), "k", ratelimit.PerSecond(1)); err == nil {
			t.Fatalf("%+v without Redis", res)
		}
	}
}

// TestFailOpen_AdmitsAll makes calls while Redis refuses connections, and counts the calls of the hook.
func TestFailOpen_AdmitsAll(t *testing.T) {
	var degraded atomic.Int64
	faults, l, _ := faulty(t, ratelimit.Config{
		Outage: ratelimit.FailOpen, Timeout: 5 * time.Second,
		Hooks: ratelimit.Hooks{Degraded: func(context.Context, ratelimit.OutagePolicy, error) { degraded.Add(1) }},
	})
	faults.Refuse()
	limit := ratelimit.PerHour(2)
	for range 5 {
		if res, err := l.Allow(t.Context(), "k", limit); err != nil || res.Allowed != 1 {
			t.Fatalf("got %+v, %v; want allowed", res, err)
		}
		if err := l.Wait(t.Context(), "k", limit); err != nil {
			t.Fatal(err)
		}
	}
	if n := degraded.Load(); n != 10 {
		t.Errorf("hook called %d times, want 10", n)
	}
}

// TestLocalShare_DividesLimit shares a limit between two processes. One of them loses Redis, uses its half, and reports it
// afterwards.
func TestLocalShare_DividesLimit(t *testing.T) {
	rdb := redistest.Client(t)
	faults := redistest.NewFaults(t)
	cfg := ratelimit.Config{Outage: ratelimit.LocalShare, Timeout: 5 * time.Second}
	limit := ratelimit.PerHour(20)
	open := func(c ratelimit.Client) *ratelimit.Limiter {
		l, err := ratelimit.New(c, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	never := open(faults.Client(t, impatient(rdb)))
	other := open(redistest.Another(t, rdb))
	if _, err := other.Peek(t.Context(), "k", limit); err != nil {
		t.Fatal(err)
	}
	key := "penstock:clients:rate%3A"
	testkit.Eventually(t, "the process is counted", func() bool { return rdb.ZCard(t.Context(), key).Val() == 1 })
	l := open(faults.Client(t, impatient(rdb)))
	if _, err := l.AllowN(t.Context(), "k", limit, 4); err != nil { // 16 are left, 8 for each
		t.Fatal(err)
	}
	testkit.Eventually(t, "both processes are counted", func() bool { return l.Clients() == 2 })

	faults.Refuse()
	granted := 0
	for range 30 {
		res, err := l.Allow(t.Context(), "k", limit)
		if err != nil {
			t.Fatal(err)
		}
		granted += res.Allowed
	}
	if granted != 8 {
		t.Errorf("%d units granted without Redis, want 8", granted)
	}
	if res, err := never.Allow(t.Context(), "k", limit); err == nil {
		t.Errorf("%+v by a process that never reached Redis", res)
	}
	remaining(t, other, limit, 16)
	faults.Heal()
	// One of the next calls carries the report.
	testkit.Eventually(t, "the report arrives", func() bool {
		_, _ = l.Peek(t.Context(), "k", limit)
		res, err := other.Peek(t.Context(), "k", limit)
		return err == nil && res.Remaining == 8
	})
}

// TestCircuit_AnswersAtOnce makes many calls while Redis does not reply. Few of them may wait for the timeout.
func TestCircuit_AnswersAtOnce(t *testing.T) {
	faults, l, _ := faulty(t, ratelimit.Config{Timeout: 500 * time.Millisecond})
	if _, err := l.Peek(t.Context(), "k", ratelimit.PerHour(1)); err != nil {
		t.Fatal(err)
	}
	faults.Blackhole()
	start := time.Now()
	for range 2000 {
		if _, err := l.Allow(t.Context(), "k", ratelimit.PerHour(1)); !errors.Is(err, ratelimit.ErrUnavailable) {
			t.Fatalf("got %v, want ErrUnavailable", err)
		}
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("2000 calls took %v: each waits for Redis", took)
	}
}
