package concurrency

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/scripts"
	"github.com/redis/go-redis/v9"
)

// Close ends waits and leases, and returns everything to Redis. TestMain checks that no goroutine is left.
func TestClose_EndsLeasesAndReturnsPermits(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newTest(t, rdb, Config{Limit: 1})
		held := acquire(t, s, 1)
		ctx := held.Context()
		waiting := queued(t, s, testkit.Context(t), 1)
		if err := s.Close(testkit.Context(t)); err != nil {
			t.Fatal(err)
		}
		refused(t, waiting, ErrClosed)
		if cause := context.Cause(ctx); !errors.Is(cause, ErrLeaseLost) || !errors.Is(cause, ErrClosed) {
			t.Errorf("the cause of the lease's end: got %v, want %v and %v", cause, ErrLeaseLost, ErrClosed)
		}
		held.Release()
		if _, err := s.Acquire(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Acquire after Close: got %v, want %v", err, ErrClosed)
		}
		if fields := rdb.HKeys(t.Context(), scripts.SemaphoreKey("test")).Val(); !slices.Equal(fields, []string{"g"}) {
			t.Errorf("fields of the HASH after Close: got %v, want the generation alone", fields)
		}
		if err := s.Close(testkit.Context(t)); err != nil {
			t.Errorf("a second Close: got %v, want nil", err)
		}
	})
}

// Close returns by its deadline although Redis hangs. Later it reports that Redis hasn't confirmed the return.
func TestClose_ObeysItsDeadlineWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	s := newTest(t, f.Client(t, server.Options()), Config{Limit: 1, SessionTTL: time.Second})
	acquire(t, s, 1)
	f.Blackhole()
	if err := s.Close(testkit.ContextFor(t, 10*time.Millisecond)); !errors.Is(err, ErrDeadline) {
		t.Errorf("Close with a deadline: got %v, want %v", err, ErrDeadline)
	}
	if err := s.Close(testkit.Context(t)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Close without Redis: got %v, want %v", err, ErrUnavailable)
	}
	f.Heal()
}

// A semaphore that was never used has nothing to return.
func TestClose_OfUnusedSemaphoreSucceeds(t *testing.T) {
	s := newTest(t, redistest.Client(t), Config{Limit: 1})
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

// After MaxHold a lease loses its permit to the next request, and its context has ended before.
func TestMaxHold_PassesThePermitOn(t *testing.T) {
	s := newTest(t, redistest.Client(t), Config{Limit: 1, MaxHold: 20 * time.Millisecond})
	hung := acquire(t, s, 1)
	ctx := hung.Context()
	l := acquire(t, s, 1, WithMaxHold(0))
	if cause := context.Cause(ctx); !errors.Is(cause, ErrLeaseLost) {
		t.Errorf("the cause of the first lease's end: got %v, want %v", cause, ErrLeaseLost)
	}
	hung.Release()
	testkit.Eventually(t, "the loss is counted", func() bool { return s.Stats().PermitsHeld == 1 && s.Stats().LeasesLost == 1 })
	<-time.After(40 * time.Millisecond)
	if l.Err() != nil {
		t.Errorf("a lease without a maximum: got %v, want nil", l.Err())
	}
	l.Release()
}

// A lease's context has the values and the end of the context that was passed to Acquire, which may be that of a lease.
func TestLeaseContext_HasValuesAndEndOfItsParent(t *testing.T) {
	s := newTest(t, redistest.Client(t), Config{Limit: 2})
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
	outer, err := s.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := s.Acquire(outer.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v := inner.Context().Value(key{}); v != "v" {
		t.Errorf("the value of the context: got %v, want v", v)
	}
	if inner.Context() != inner.Context() {
		t.Error("got two contexts of one lease, want one")
	}
	child, stop := context.WithCancel(inner.Context())
	defer stop()
	cancel()
	<-child.Done()
	if inner.Err() != nil {
		t.Errorf("the lease after its parent's end: got %v, want nil", inner.Err())
	}
	inner.Release() // without a live context
	outer.Release()
	returned(t, s)
}

// Each field of Config is checked, and so is the client.
func TestNew_RefusesFieldsOutOfRange(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	for _, cfg := range []Config{
		{SessionTTL: time.Millisecond}, {SessionTTL: 2 * time.Hour}, {PollInterval: -1}, {PollInterval: time.Minute},
		{IdleTimeout: time.Minute}, {MaxHold: -1}, {LimitVersion: -1}, {Outage: 7}, {Outage: -1}, {MinProcesses: -1},
		{SessionName: string(make([]byte, 1025))}, {Limit: -1}, {Limit: 1 << 24},
	} {
		cfg.Name = "x"
		if cfg.Limit == 0 {
			cfg.Limit = 1
		}
		if _, err := New(rdb, cfg); err == nil {
			t.Errorf("New with %+v: got no error, want one", cfg)
		}
	}
	for _, cfg := range []Config{{Name: "x"}, {Limit: 1}} {
		if _, err := New(rdb, cfg); err == nil {
			t.Errorf("New with %+v: got no error, want one", cfg)
		}
	}
	if _, err := New(nil, Config{Name: "x", Limit: 1}); err == nil {
		t.Error("New without a client: got no error, want one")
	}
}
