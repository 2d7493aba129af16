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

// Requests of the same priority are served in the order in which they came.
func TestQueue_IsFIFO(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newTest(t, rdb, Config{Limit: 1})
		held := acquire(t, s, 1)
		var got []<-chan result
		for range 5 {
			got = append(got, queued(t, s, testkit.Context(t), 1))
		}
		for i := range got {
			for _, later := range got[i:] {
				none(t, later)
			}
			held.Release()
			held = take(t, got[i])
		}
		held.Release()
	})
}

// Requests of a higher priority are served first.
func TestPriority_OrdersTheQueue(t *testing.T) {
	s := newTest(t, redistest.Client(t), Config{Limit: 1})
	held := acquire(t, s, 1)
	low := queued(t, s, testkit.Context(t), 1, WithPriority(PriorityLow))
	normal := queued(t, s, testkit.Context(t), 1)
	high := queued(t, s, testkit.Context(t), 1, WithPriority(PriorityHigh))
	for _, got := range []<-chan result{high, normal, low} {
		held.Release()
		held = take(t, got)
	}
	held.Release()
}

// A high priority in one process is served before a normal one in another.
func TestPriority_HoldsAcrossProcesses(t *testing.T) {
	rdb := redistest.Client(t)
	a, b := newTest(t, rdb, Config{Limit: 1}), another(t, rdb, Config{Limit: 1})
	held := acquire(t, a, 1)
	first := queued(t, a, testkit.Context(t), 1)
	urgent := queued(t, b, testkit.Context(t), 1, WithPriority(PriorityHigh))
	testkit.Eventually(t, "a has a share of 0", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.session.share == 0
	})
	held.Release()
	held = take(t, urgent)
	none(t, first)
	held.Release()
	take(t, first).Release()
}

// A small request doesn't overtake a large one.
func TestLargeRequest_IsNotOvertaken(t *testing.T) {
	s := newTest(t, redistest.Client(t), Config{Limit: 4})
	a, b := acquire(t, s, 2), acquire(t, s, 2)
	large := queued(t, s, testkit.Context(t), 4)
	small := queued(t, s, testkit.Context(t), 1)
	a.Release()
	if _, err := s.TryAcquire(t.Context()); !errors.Is(err, ErrFull) {
		t.Fatalf("TryAcquire behind a large request: got %v, want %v", err, ErrFull)
	}
	none(t, large)
	none(t, small)
	b.Release()
	l := take(t, large)
	none(t, small)
	l.Release()
	take(t, small).Release()
}

// A large request of one process is served although other processes could always use every permit.
func TestLargeRequest_IsServedAcrossProcesses(t *testing.T) {
	rdb := redistest.Client(t)
	const limit = 6
	large := newTest(t, rdb, Config{Limit: limit})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	const others = 2
	for range others {
		s := another(t, rdb, Config{Limit: limit})
		for range limit {
			go func() {
				defer func() { ended <- struct{}{} }()
				for ctx.Err() == nil {
					l, err := s.Acquire(ctx)
					if err != nil {
						return
					}
					time.Sleep(time.Millisecond)
					l.Release()
				}
			}()
		}
	}
	for range 5 {
		l := acquire(t, large, limit)
		if sum, st := allocated(t, large); sum > limit {
			t.Errorf("allocated permits: got %d, want at most %d: %+v", sum, limit, st)
		}
		l.Release()
	}
	stop()
	for range others * limit {
		<-ended
	}
}

// A cancelled request no longer delays those behind it, and its error has the context's cause.
func TestCancelledRequest_LeavesTheQueue(t *testing.T) {
	s := newTest(t, redistest.Client(t), Config{Limit: 2})
	a := acquire(t, s, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	large := queued(t, s, ctx, 2)
	small := queued(t, s, testkit.Context(t), 1)
	why := errors.New("changed my mind")
	cancel(why)
	refused(t, large, why)
	take(t, small).Release()
	a.Release()
}

// A context that ends at the moment of the grant costs no permit.
func TestCancelledRequest_LeaksNoPermit(t *testing.T) {
	s := newTest(t, redistest.Client(t), Config{Limit: 1})
	for range 300 {
		held := acquire(t, s, 1)
		ctx, cancel := context.WithCancel(t.Context())
		got := queued(t, s, ctx, 1)
		go cancel()
		held.Release()
		if r := <-got; r.err == nil {
			r.lease.Release()
		} else if !errors.Is(r.err, context.Canceled) {
			t.Fatalf("a cancelled request: got %v, want %v", r.err, context.Canceled)
		}
	}
	acquire(t, s, 1).Release()
}

// A request that can never be granted fails at once.
func TestAcquire_RefusesImpossibleRequests(t *testing.T) {
	s := newTest(t, redistest.Client(t), Config{Limit: 3})
	if _, err := s.AcquireN(t.Context(), 4); !errors.Is(err, ErrNeverFits) {
		t.Errorf("4 permits of 3: got %v, want %v", err, ErrNeverFits)
	}
	if _, err := s.AcquireN(t.Context(), 0); err == nil {
		t.Error("0 permits: got no error, want one")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Acquire(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: got %v, want %v", err, context.Canceled)
	}
}
