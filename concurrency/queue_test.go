package concurrency

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/redis/go-redis/v9"
)

func TestFirstComeFirstServed(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newTest(t, rdb, 1)
		held := acquire(t, s, 1)
		var got []<-chan result
		for range 5 {
			got = append(got, queued(t, s, bounded(t), 1))
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

func TestPriorityComesFirst(t *testing.T) {
	s := newTest(t, redistest.Client(t), 1)
	held := acquire(t, s, 1)
	low := queued(t, s, bounded(t), 1, WithPriority(Low))
	normal := queued(t, s, bounded(t), 1)
	high := queued(t, s, bounded(t), 1, WithPriority(High))
	for _, got := range []<-chan result{high, normal, low} {
		held.Release()
		held = take(t, got)
	}
	held.Release()
}

// A high priority of one process comes before a normal one of another.
func TestPriorityAcrossProcesses(t *testing.T) {
	rdb := redistest.Client(t)
	a, b := newTest(t, rdb, 1), another(t, rdb, 1)
	held := acquire(t, a, 1)
	first := queued(t, a, bounded(t), 1)
	urgent := queued(t, b, bounded(t), 1, WithPriority(High))
	eventually(t, "a is told to yield", func() bool {
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

func TestLargeRequestIsNotOvertaken(t *testing.T) {
	s := newTest(t, redistest.Client(t), 4)
	a, b := acquire(t, s, 2), acquire(t, s, 2)
	large := queued(t, s, bounded(t), 4)
	small := queued(t, s, bounded(t), 1)
	a.Release()
	if _, err := s.TryAcquire(t.Context()); !errors.Is(err, ErrFull) {
		t.Fatalf("a small request passed a large one: %v", err)
	}
	none(t, large)
	none(t, small)
	b.Release()
	l := take(t, large)
	none(t, small)
	l.Release()
	take(t, small).Release()
}

// A large request of one process is served although the others could use every permit all the time.
func TestLargeRequestAcrossProcesses(t *testing.T) {
	rdb := redistest.Client(t)
	const limit = 6
	large := newTest(t, rdb, limit)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	const others = 2
	for range others {
		s := another(t, rdb, limit)
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
			t.Errorf("%d permits of %d are allocated: %+v", sum, limit, st)
		}
		l.Release()
	}
	stop()
	for range others * limit {
		<-ended
	}
}

func TestCancelledWaiterLeavesTheQueue(t *testing.T) {
	s := newTest(t, redistest.Client(t), 2)
	a := acquire(t, s, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	large := queued(t, s, ctx, 2)
	small := queued(t, s, bounded(t), 1)
	why := errors.New("changed my mind")
	cancel(why)
	refused(t, large, why)
	take(t, small).Release() // no longer held up
	a.Release()
}

// A context that ends at the moment of the hand-off costs no permit, whichever comes first.
func TestCancelAtHandOff(t *testing.T) {
	s := newTest(t, redistest.Client(t), 1)
	for range 300 {
		held := acquire(t, s, 1)
		ctx, cancel := context.WithCancel(t.Context())
		got := queued(t, s, ctx, 1)
		go cancel()
		held.Release()
		if r := <-got; r.err == nil {
			r.lease.Release()
		} else if !errors.Is(r.err, context.Canceled) {
			t.Fatal(r.err)
		}
	}
	acquire(t, s, 1).Release()
}

func TestRequestsThatCanNeverBeMet(t *testing.T) {
	s := newTest(t, redistest.Client(t), 3)
	if _, err := s.AcquireN(t.Context(), 4); !errors.Is(err, ErrTooLarge) {
		t.Errorf("4 of 3: %v", err)
	}
	if _, err := s.AcquireN(t.Context(), 0); err == nil {
		t.Error("0 permits were granted")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Acquire(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}
