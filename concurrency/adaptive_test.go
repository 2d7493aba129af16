package concurrency

import (
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/redis/go-redis/v9"
)

func limitNow(t *testing.T, s *Semaphore) int {
	t.Helper()
	_, st := allocated(t, s)
	return st.Limit
}

// One process meets overloads, and the limit falls for all; successes of calls that use it raise it again.
func TestAdaptiveLimitIsShared(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		o := WithAdaptive(Adaptive{Initial: 10, Window: 10 * time.Millisecond})
		a, b := newTest(t, rdb, 40, o), newTest(t, rdb, 40, o)
		lease := acquire(t, b, 1)
		if n := limitNow(t, b); n != 10 {
			t.Fatalf("it begins at %d, want 10", n)
		}
		for last := 10; last > 5; {
			acquire(t, a, 1).Done(Overloaded)
			n := limitNow(t, b)
			if n < last-2 {
				t.Errorf("it fell from %d to %d at once", last, n)
			}
			last = n
		}
		// Fewer than half of the permits in use: nothing is learned from success.
		acquire(t, a, 1).Done(Succeeded)
		eventually(t, "the success is told", func() bool { return a.Stats().Calls > 0 && limitNow(t, b) <= 5 })
		lease.Release()
		eventually(t, "it climbs under use", func() bool {
			var leases []*Lease
			for range 40 {
				l, err := a.TryAcquire(t.Context())
				if err != nil {
					break
				}
				leases = append(leases, l)
			}
			for _, l := range leases {
				l.Done(Succeeded)
			}
			return limitNow(t, b) == 40
		})
	})
}

// Requests that an adaptive limit could leave waiting for ever are refused.
func TestAdaptiveLargeRequests(t *testing.T) {
	s := newTest(t, redistest.Client(t), 40, WithAdaptive(Adaptive{Min: 4}))
	acquire(t, s, 4).Done(Succeeded)
	if _, err := s.AcquireN(t.Context(), 5); err == nil {
		t.Error("5 permits were granted of a limit that may fall to 4")
	}
}

func TestAdaptiveOptions(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	for _, a := range []Adaptive{
		{Min: -1}, {Min: 41}, {Initial: 41}, {Min: 10, Initial: 5}, {Backoff: 1}, {Backoff: -1}, {Window: time.Millisecond},
		{Window: time.Minute}, {Tolerance: 0.5}, {Smoothing: 1.1}, {Smoothing: -1}, {Queue: -1},
	} {
		if _, err := NewSemaphore(rdb, "x", 40, WithAdaptive(a)); err == nil {
			t.Errorf("%+v was accepted", a)
		}
	}
}
