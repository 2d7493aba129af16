package concurrency

import (
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/redis/go-redis/v9"
)

func limitNow(t *testing.T, s *Semaphore) int {
	t.Helper()
	_, st := allocated(t, s)
	return st.Limit
}

// Dropped calls of one process lower the limit of all. Succeeded calls raise it again, if they use it.
func TestAdaptive_IsSharedByProcesses(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		cfg := Config{Limit: 40, Adaptive: &Adaptive{Initial: 10, Window: 10 * time.Millisecond}}
		a, b := newTest(t, rdb, cfg), newTest(t, rdb, cfg)
		lease := acquire(t, b, 1)
		if n := limitNow(t, b); n != 10 {
			t.Fatalf("the limit at the start: got %d, want 10", n)
		}
		for last := 10; last > 5; {
			acquire(t, a, 1).Done(Dropped)
			n := limitNow(t, b)
			if n < last-2 {
				t.Errorf("the limit after one dropped call: got %d, want at least %d", n, last-2)
			}
			last = n
		}
		// Fewer than half of the permits are in use, so a success doesn't raise the limit.
		acquire(t, a, 1).Done(Succeeded)
		testkit.Eventually(t, "the success is reported", func() bool { return a.Stats().ScriptCalls > 0 && limitNow(t, b) <= 5 })
		lease.Release()
		testkit.Eventually(t, "the limit rises to 40 while it is used", func() bool {
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

// A request above Min is refused, because the limit may fall to Min and the request would then wait for ever.
func TestAdaptive_RefusesRequestsAboveMin(t *testing.T) {
	s := newTest(t, redistest.Client(t), Config{Limit: 40, Adaptive: &Adaptive{Min: 4}})
	acquire(t, s, 4).Done(Succeeded)
	if _, err := s.AcquireN(t.Context(), 5); !errors.Is(err, ErrNeverFits) {
		t.Errorf("5 permits of a limit that may fall to 4: got %v, want %v", err, ErrNeverFits)
	}
}

// Each field of Adaptive is checked.
func TestAdaptive_RefusesFieldsOutOfRange(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	for _, a := range []Adaptive{
		{Min: -1}, {Min: 41}, {Initial: 41}, {Min: 10, Initial: 5}, {Backoff: 1}, {Backoff: -1}, {Window: time.Millisecond},
		{Window: time.Minute}, {Tolerance: 0.5}, {Smoothing: 1.1}, {Smoothing: -1}, {Queue: -1},
	} {
		if _, err := New(rdb, Config{Name: "x", Limit: 40, Adaptive: &a}); err == nil {
			t.Errorf("New with %+v: got no error, want one", a)
		}
	}
}
