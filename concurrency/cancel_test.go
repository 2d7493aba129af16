package concurrency

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// cancelled queues a request of n permits, waits until Redis knows of it, and cancels it.
func cancelled(t *testing.T, s *Semaphore, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	waiting := queued(t, s, ctx, n)
	known(t, s, n)
	cancel()
	refused(t, waiting, context.Canceled)
}

// within fails the test if a request of n permits isn't granted within the poll interval and a tenth.
func within(t *testing.T, s *Semaphore, n int) {
	t.Helper()
	start := time.Now()
	acquire(t, s, n).Release()
	const most = DefaultPollInterval + DefaultPollInterval/10
	if took := time.Since(start); took > most {
		t.Errorf("a request of %d permits was granted after %v, want at most %v", n, took, most)
	}
}

// After a request was cancelled, later requests are reported to Redis at once, at any TTL.
func TestCancelledRequest_DelaysNoLaterOne(t *testing.T) {
	for _, ttl := range []time.Duration{10 * time.Second, time.Hour} {
		bubble(t, func(t *testing.T, process func() *client) {
			cfg := Config{Limit: 2, SessionTTL: ttl, IdleTimeout: -1}
			a, b := newTest(t, process(), cfg), newTest(t, process(), cfg)
			held, other := acquire(t, a, 1), acquire(t, b, 1)
			cancelled(t, a, 1)
			time.Sleep(2 * DefaultPollInterval) // a poll of the process comes and goes without a waiter
			other.Release()
			time.Sleep(time.Millisecond)
			l, err := a.TryAcquire(t.Context())
			if err != nil {
				t.Errorf("TryAcquire with a free permit: got %v, want a lease", err)
			} else {
				l.Release()
			}
			time.Sleep(time.Second)
			within(t, a, 1)
			held.Release()
		})
	}
}

// After a request was served from the process's own permits, later requests are reported to Redis at once.
func TestServedRequest_DelaysNoLaterOne(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		cfg := Config{Limit: 2, IdleTimeout: -1}
		a, b := newTest(t, process(), cfg), newTest(t, process(), cfg)
		held, other := acquire(t, a, 1), acquire(t, b, 1)
		waiting := queued(t, a, testkit.Context(t), 1)
		known(t, a, 1)
		held.Release()
		held = take(t, waiting)
		time.Sleep(2 * DefaultPollInterval)
		other.Release()
		time.Sleep(time.Millisecond)
		within(t, a, 1)
		held.Release()
	})
}

// Permits that Redis set aside for a large request are free for other processes soon after the request was cancelled.
func TestCancelledRequest_FreesPermitsSetAside(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		cfg := Config{Limit: 4, IdleTimeout: -1}
		a, b := newTest(t, process(), cfg), newTest(t, process(), cfg)
		held, other := acquire(t, a, 1), acquire(t, b, 1)
		cancelled(t, a, 4)
		within(t, b, 2)
		held.Release()
		other.Release()
	})
}

// On an idle semaphore TryAcquireN never fails, also directly after a request was cancelled.
func TestTryAcquireN_FindsTheFreePermits(t *testing.T) {
	s := newTest(t, redistest.Client(t), Config{Limit: 2})
	for range 200 {
		held := acquire(t, s, 1)
		ctx, cancel := context.WithCancel(t.Context())
		large := make(chan result, 1)
		go func() {
			l, err := s.AcquireN(ctx, 2)
			large <- result{l, err}
		}()
		for { // until the large request waits
			l, err := s.TryAcquire(t.Context())
			if err != nil {
				break
			}
			l.Release()
		}
		cancel()
		held.Release()
		if r := testkit.Receive(t, "the result of the large request", large); !errors.Is(r.err, context.Canceled) {
			t.Fatalf("a request that was cancelled before its permits were free: got %v, want %v", r.err, context.Canceled)
		}
		l, err := s.TryAcquireN(t.Context(), 2)
		if err != nil {
			t.Fatalf("TryAcquireN(2) of an idle semaphore of 2: got %v, want a lease", err)
		}
		l.Release()
	}
}

// WithMaxWait ends the wait on time, with its own error, and doesn't bound the lease.
func TestMaxWait_BoundsTheWaitAlone(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		const most = 700 * time.Millisecond
		s := newTest(t, process(), Config{Limit: 1})
		l := acquire(t, s, 1, WithMaxWait(most))
		start := time.Now()
		if _, err := s.Acquire(t.Context(), WithMaxWait(most)); !errors.Is(err, ErrMaxWait) || time.Since(start) != most {
			t.Errorf("Acquire: got %v after %v, want %v after %v", err, time.Since(start), ErrMaxWait, most)
		}
		time.Sleep(time.Minute)
		if err := l.Context().Err(); err != nil {
			t.Errorf("the lease's context: got %v, want nil", err)
		}
		l.Release()
	})
}

// The deadline of the context passed to Acquire bounds the wait and not the work. Its cancellation ends the work.
func TestLeaseContext_HasNoDeadlineOfTheWait(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		s := newTest(t, process(), Config{Limit: 2})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l, err := s.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		work := l.Context()
		if at, ok := work.Deadline(); ok {
			t.Errorf("the deadline of the lease's context: got %v, want none", at)
		}
		time.Sleep(2 * time.Second)
		if work.Err() != nil {
			t.Errorf("the lease's context after the deadline of the wait: got %v, want nil", work.Err())
		}
		l.Release()

		why := errors.New("the request is gone")
		parent, end := context.WithCancelCause(t.Context())
		if l, err = s.Acquire(parent); err != nil {
			t.Fatal(err)
		}
		work = l.Context()
		end(why)
		if cause := context.Cause(work); work.Err() == nil || !errors.Is(cause, why) {
			t.Errorf("the lease's context after a cancellation: got cause %v, want %v", cause, why)
		}
		l.Release()
	})
}

// Redis stops counting a request as waiting within the poll interval after the process has served it itself.
func TestServedRequest_IsRetracted(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		cfg := Config{Limit: 2, IdleTimeout: -1}
		a, b := newTest(t, process(), cfg), newTest(t, process(), cfg)
		held, other := acquire(t, a, 1), acquire(t, b, 1)
		waiting := queued(t, a, testkit.Context(t), 1)
		known(t, a, 1)
		held.Release()
		held = take(t, waiting)
		time.Sleep(DefaultPollInterval + time.Millisecond)
		_, st := allocated(t, b)
		for _, x := range st.Sessions {
			if x.Waiting != 0 {
				t.Errorf("permits that session %s waits for: got %d, want 0", x.ID, x.Waiting)
			}
		}
		held.Release()
		other.Release()
	})
}

// A process that alone uses the semaphore keeps permits that are released while none of its requests waits, also if Redis
// counts one as waiting.
func TestServedRequest_LeavesPermitsWithTheOnlyProcess(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		s := newTest(t, process(), Config{Limit: 2})
		first, second := acquire(t, s, 1), acquire(t, s, 1)
		waiting := queued(t, s, testkit.Context(t), 1)
		known(t, s, 1)
		before := s.Stats().ScriptCalls
		first.Release()
		second.Release()
		held := take(t, waiting)
		time.Sleep(DefaultIdleTimeout / 2)
		if more := s.Stats().ScriptCalls - before; more != 0 {
			t.Errorf("script calls after a release: got %d, want 0", more)
		}
		held.Release()
	})
}

// A request that Redis doesn't count is worth a report only for as long as it waits.
func TestDemand_IsReportedWhileARequestWaits(t *testing.T) {
	cfg, err := Config{Name: "test", Limit: 2}.complete()
	if err != nil {
		t.Fatal(err)
	}
	s, q, now := newSession(&cfg), &queue{}, time.Now()
	s.reportedAt, s.demandRose = now, true
	if at := s.nextReport(q, now); !at.IsZero() {
		t.Errorf("the next report after the request was served: got one in %v, want none", at.Sub(now))
	}
	q.push(&waiter{n: 1, level: PriorityNormal.level()})
	if at := s.nextReport(q, now); !at.Equal(now) {
		t.Errorf("the next report while a request waits: got %v, want %v", at, now)
	}
}

// A process whose requests often wait for a moment, and are served by itself, reports twice a poll interval at most: at the
// poll, and for requests that joined during it.
func TestServedRequest_NeedsNoReport(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		const limit, lasts = 4, 10 * time.Second
		const most = 2*int64(lasts/DefaultPollInterval) + 10
		s := newTest(t, process(), Config{Limit: limit})
		ctx := testkit.ContextFor(t, lasts)
		var inUse gauge
		use(ctx, s, limit+1, 3*time.Millisecond, &inUse)
		if st := s.Stats(); st.Waits < 1000 || st.ScriptCalls > most {
			t.Errorf("script calls for %d requests that waited: got %d, want at most %d", st.Waits, st.ScriptCalls, most)
		}
	})
}
