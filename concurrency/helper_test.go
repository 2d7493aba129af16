package concurrency

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/redis/go-redis/v9"
)

// newTest returns a semaphore named "test", unless cfg names it, that is closed when the test ends.
func newTest(t testing.TB, rdb redis.UniversalClient, cfg Config) *Semaphore {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "test"
	}
	s, err := New(rdb, cfg)
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

// another returns the semaphore of a second process: one with a client of its own on the same database.
func another(t testing.TB, rdb *redis.Client, cfg Config) *Semaphore {
	t.Helper()
	return newTest(t, redistest.Another(t, rdb), cfg)
}

// acquire waits for n permits and fails the test if there are none.
func acquire(t testing.TB, s *Semaphore, n int, opts ...AcquireOption) *Lease {
	t.Helper()
	l, err := s.AcquireN(testkit.Context(t), n, opts...)
	if err != nil {
		t.Fatalf("AcquireN(%d): got %v, want a lease", n, err)
	}
	return l
}

// result is the result of an AcquireN in the background.
type result struct {
	lease *Lease
	err   error
}

// queued starts an AcquireN in the background and returns when it waits in the queue.
func queued(t testing.TB, s *Semaphore, ctx context.Context, n int, opts ...AcquireOption) <-chan result {
	t.Helper()
	before := s.Stats().PermitsWaitedFor
	got := make(chan result, 1)
	go func() {
		l, err := s.AcquireN(ctx, n, opts...)
		got <- result{l, err}
	}()
	testkit.Eventually(t, "the request waits", func() bool { return s.Stats().PermitsWaitedFor >= before+int64(n) })
	return got
}

// take waits for an AcquireN in the background and fails the test if it has an error.
func take(t testing.TB, got <-chan result) *Lease {
	t.Helper()
	r := testkit.Receive(t, "the result of a queued request", got)
	if r.err != nil {
		t.Fatalf("a queued request: got %v, want a lease", r.err)
	}
	return r.lease
}

// refused waits for an AcquireN in the background and fails the test if its error isn't want.
func refused(t testing.TB, got <-chan result, want error) {
	t.Helper()
	if r := testkit.Receive(t, "the error of a queued request", got); !errors.Is(r.err, want) {
		t.Fatalf("a queued request: got %v, want %v", r.err, want)
	}
}

// none fails the test if an AcquireN in the background has ended.
func none(t testing.TB, got <-chan result) {
	t.Helper()
	select {
	case r := <-got:
		t.Fatalf("a queued request: got %v and %v, want it to wait", r.lease, r.err)
	default:
	}
}

// allocated returns the sum of all sessions' allocations, and the state that it is from.
func allocated(t testing.TB, s *Semaphore) (int, *State) {
	t.Helper()
	st, err := s.Inspect(testkit.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, x := range st.Sessions {
		sum += x.Allocated
	}
	return sum, st
}

// returned waits until no session has an allocation.
func returned(t testing.TB, s *Semaphore) {
	t.Helper()
	testkit.Eventually(t, "all permits are back in Redis", func() bool { sum, _ := allocated(t, s); return sum == 0 })
}

// known waits until Redis knows that requests of the process wait for n permits.
func known(t testing.TB, s *Semaphore, n int) {
	t.Helper()
	testkit.Eventually(t, "Redis knows of the waiting request", func() bool {
		_, st := allocated(t, s)
		for _, x := range st.Sessions {
			if x.ID == s.Session() && x.Waiting >= n {
				return true
			}
		}
		return false
	})
}
