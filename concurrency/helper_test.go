package concurrency

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// newTest returns a semaphore that is closed when the test ends.
func newTest(t testing.TB, rdb redis.UniversalClient, limit int, opts ...Option) *Semaphore {
	t.Helper()
	s, err := NewSemaphore(rdb, "test", limit, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.Close(ctx)
	})
	return s
}

// another is a second process: a semaphore with a client of its own on the same database.
func another(t testing.TB, rdb *redis.Client, limit int, opts ...Option) *Semaphore {
	t.Helper()
	return newTest(t, redistest.Another(t, rdb), limit, opts...)
}

func acquire(t testing.TB, s *Semaphore, n int, opts ...AcquireOption) *Lease {
	t.Helper()
	l, err := s.AcquireN(bounded(t), n, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// bounded ends far beyond what anything here should take.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// result is what an acquire in the background got.
type result struct {
	lease *Lease
	err   error
}

// queued starts an acquire in the background and returns once it waits.
func queued(t testing.TB, s *Semaphore, ctx context.Context, n int, opts ...AcquireOption) <-chan result {
	t.Helper()
	before := s.Stats().Waiting
	got := make(chan result, 1)
	go func() {
		l, err := s.AcquireN(ctx, n, opts...)
		got <- result{l, err}
	}()
	eventually(t, "the caller waits", func() bool { return s.Stats().Waiting >= before+int64(n) })
	return got
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// take waits for an acquire in the background to succeed.
func take(t testing.TB, got <-chan result) *Lease {
	t.Helper()
	select {
	case r := <-got:
		if r.err != nil {
			t.Fatal(r.err)
		}
		return r.lease
	case <-time.After(30 * time.Second):
		t.Fatal("no lease within 30 s")
		return nil
	}
}

// refused waits for an acquire in the background to fail with an error.
func refused(t testing.TB, got <-chan result, want error) {
	t.Helper()
	select {
	case r := <-got:
		if !errors.Is(r.err, want) {
			t.Fatalf("got %v, want %v", r.err, want)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("no error within 30 s, want %v", want)
	}
}

// none checks that an acquire in the background still waits.
func none(t testing.TB, got <-chan result) {
	t.Helper()
	select {
	case r := <-got:
		t.Fatalf("it should still wait, and got %v, %v", r.lease, r.err)
	default:
	}
}

// allocated returns the sum of all sessions' allocations, and the state that has it.
func allocated(t testing.TB, s *Semaphore) (int, *State) {
	t.Helper()
	st, err := s.Inspect(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, x := range st.Sessions {
		sum += x.Allocated
	}
	return sum, st
}

// known waits until Redis knows that a process's callers wait for n permits.
func known(t testing.TB, s *Semaphore, n int) {
	t.Helper()
	eventually(t, "Redis knows who waits", func() bool {
		_, st := allocated(t, s)
		for _, x := range st.Sessions {
			if x.ID == s.Session() && x.Waiting >= n {
				return true
			}
		}
		return false
	})
}
