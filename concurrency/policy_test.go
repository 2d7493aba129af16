package concurrency

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
)

// While Redis is away, whether it refuses or hangs, every call returns by its deadline, and the policy says what it
// gets. When Redis is back, what was let out is in its books.
func TestPolicies(t *testing.T) {
	t.Parallel()
	const limit = 4
	for _, tt := range []struct {
		name   string
		policy Policy
		fleet  int
		gets   int // permits that a process without a session can have
	}{
		{"local share", LocalShare, 2, limit / 2},
		{"local share of many", LocalShare, 100, 1},
		{"closed", FailClosed, 1, 0},
		{"open", FailOpen, 1, 3 * limit},
	} {
		for _, how := range []string{"refuses", "hangs"} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				f := redistest.NewFaults(t)
				var away atomic.Int64
				s := newTest(t, f.Client(t, server.Options()), limit, WithTTL(time.Second), WithPolicy(tt.policy),
					WithFleet(tt.fleet), WithHooks(Hooks{Away: func(err error) { away.Add(1) }}))
				acquire(t, s, 1).Release() // so that it is connected
				eventually(t, "the permit is back", func() bool { sum, _ := allocated(t, s); return sum == 0 })
				if how == "refuses" {
					f.Refuse()
				} else {
					f.Blackhole()
				}
				var leases []*Lease
				for range tt.gets {
					leases = append(leases, acquire(t, s, 1))
				}
				switch tt.policy {
				case FailClosed:
					if _, err := s.Acquire(bounded(t)); !errors.Is(err, ErrUnavailable) {
						t.Errorf("closed, and got %v", err)
					}
				case LocalShare:
					ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
					defer cancel()
					if _, err := s.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("beyond the local share: %v", err)
					}
				}
				f.Heal()
				back(t, s)
				eventually(t, "what was let out is in Redis' books", func() bool {
					sum, _ := allocated(t, s)
					return sum == tt.gets
				})
				for _, l := range leases {
					if l.Err() != nil {
						t.Errorf("a lease was lost: %v", l.Err())
					}
					l.Release()
				}
				acquire(t, s, limit).Release()
				if away.Load() != 2 {
					t.Errorf("the hook was called %d times, want once when Redis went and once when it came", away.Load())
				}
			})
		}
	}
}

// A lease outlives Redis until its session's end by the local clock, and no longer.
func TestLeaseEndsWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	const ttl = time.Second
	s := newTest(t, f.Client(t, server.Options()), 1, WithTTL(ttl), WithPolicy(FailClosed))
	l := acquire(t, s, 1)
	ctx := l.Context()
	other := newTest(t, server.Client(t), 1, WithTTL(ttl))
	got := queued(t, other, bounded(t), 1)
	known(t, other, 1)
	f.Blackhole()
	next := take(t, got) // Redis has given the permit away
	if ctx.Err() == nil || !errors.Is(context.Cause(ctx), ErrLeaseLost) || !errors.Is(l.Err(), ErrLeaseLost) {
		t.Errorf("the permit is another's, and the lease's context says %v, %v", ctx.Err(), context.Cause(ctx))
	}
	l.Release()
	next.Release()
	f.Heal()
	back(t, s)
	acquire(t, s, 1).Release()
}

// back waits until a process has found that Redis is back.
func back(t *testing.T, s *Semaphore) {
	t.Helper()
	eventually(t, "Redis is back", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.session.err == nil
	})
}

// However long Redis hangs, goroutines don't pile up.
func TestNoGoroutinesPileUp(t *testing.T) {
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	s := newTest(t, f.Client(t, server.Options()), 1, WithTTL(time.Second))
	acquire(t, s, 1).Release()
	f.Blackhole()
	before := runtime.NumGoroutine()
	var failed int
	for range 300 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		if l, err := s.AcquireN(ctx, 1); err == nil {
			l.Release()
		} else {
			failed++
		}
		cancel()
	}
	if after := runtime.NumGoroutine(); after > before+10 {
		t.Errorf("%d goroutines became %d", before, after)
	}
	f.Heal()
}
