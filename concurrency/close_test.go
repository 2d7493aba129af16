package concurrency

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// Close ends waits and leases, and gives everything back. That no goroutine stays is checked by TestMain.
func TestClose(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newTest(t, rdb, 1)
		held := acquire(t, s, 1)
		ctx := held.Context()
		waiting := queued(t, s, bounded(t), 1)
		if err := s.Close(bounded(t)); err != nil {
			t.Fatal(err)
		}
		refused(t, waiting, ErrClosed)
		if !errors.Is(context.Cause(ctx), ErrLeaseLost) || !errors.Is(context.Cause(ctx), ErrClosed) {
			t.Errorf("the lease's context says %v", context.Cause(ctx))
		}
		held.Release()
		if _, err := s.Acquire(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if keys := rdb.Keys(t.Context(), "*").Val(); len(keys) > 0 {
			t.Errorf("left behind: %v", keys)
		}
		if err := s.Close(bounded(t)); err != nil {
			t.Errorf("the second time: %v", err)
		}
	})
}

// Close returns by its deadline although Redis hangs, and says that the permits come back later.
func TestCloseWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	s := newTest(t, f.Client(t, server.Options()), 1, WithTTL(time.Second))
	acquire(t, s, 1)
	f.Blackhole()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("by its deadline: %v", err)
	}
	if err := s.Close(bounded(t)); !errors.Is(err, ErrUnavailable) {
		t.Error("Redis knows nothing, and Close doesn't say so")
	}
	f.Heal()
}

func TestCloseUnused(t *testing.T) {
	s := newTest(t, redistest.Client(t), 1)
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A lease that is held for too long loses its permit, after its context has ended.
func TestMaxHold(t *testing.T) {
	s := newTest(t, redistest.Client(t), 1, WithMaxHold(20*time.Millisecond))
	hung := acquire(t, s, 1)
	ctx := hung.Context()
	l := acquire(t, s, 1, WithHold(0))
	if !errors.Is(context.Cause(ctx), ErrLeaseLost) {
		t.Errorf("the permit is another's, and the context says %v", context.Cause(ctx))
	}
	hung.Release()
	eventually(t, "the loss is counted", func() bool { return s.Stats().Held == 1 && s.Stats().Lost == 1 })
	<-time.After(40 * time.Millisecond)
	if l.Err() != nil {
		t.Errorf("without a maximum: %v", l.Err())
	}
	l.Release()
}

// A lease's context has the values and the end of the context that it was acquired with, also of another lease's.
func TestLeaseContext(t *testing.T) {
	s := newTest(t, redistest.Client(t), 2)
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
	if inner.Context().Value(key{}) != "v" || inner.Context() != inner.Context() {
		t.Error("the context isn't the caller's")
	}
	child, stop := context.WithCancel(inner.Context())
	defer stop()
	cancel()
	<-child.Done()
	if inner.Err() != nil {
		t.Errorf("the caller's context ended, and with it the lease: %v", inner.Err())
	}
	inner.Release() // works although the context has ended
	outer.Release()
	eventually(t, "both are back", func() bool { sum, _ := allocated(t, s); return sum == 0 })
}

func TestOptions(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	for _, o := range []Option{
		WithTTL(time.Millisecond), WithTTL(2 * time.Hour), WithPoll(0), WithPoll(time.Minute), WithLinger(-1),
		WithLinger(time.Minute), WithMaxHold(-1), WithVersion(-1), WithPolicy(7), WithFleet(0),
	} {
		if _, err := NewSemaphore(rdb, "x", 1, o); err == nil {
			t.Error("an option out of range was accepted")
		}
	}
	for _, limit := range []int{0, -1, 1 << 24} {
		if _, err := NewSemaphore(rdb, "x", limit); err == nil {
			t.Errorf("limit %d was accepted", limit)
		}
	}
	if _, err := NewSemaphore(nil, "x", 1); err == nil {
		t.Error("no client was accepted")
	}
	if _, err := NewSemaphore(rdb, "", 1); err == nil {
		t.Error("no name was accepted")
	}
}
