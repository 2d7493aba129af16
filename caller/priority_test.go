package caller_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

func withPriority(ctx context.Context, p caller.Priority) context.Context {
	return caller.WithOptions(ctx, caller.Options{Priority: p})
}

// A call of high priority goes before calls of low priority that wait, in its own process and in another.
func TestPriority_HighOvertakesLow(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	limit := caller.Limit{Metric: caller.Requests, Rate: 40, Period: time.Second}
	a := join(t, redistest.Another(t, rdb), limits(limit))
	b := join(t, redistest.Another(t, rdb), limits(limit))
	ctx, cancel := context.WithCancel(t.Context())
	var bulk atomic.Int64 // calls made
	var wg sync.WaitGroup
	const waiting = 400
	for range waiting {
		wg.Go(func() {
			_, err := caller.Do(withPriority(ctx, caller.PriorityLow), a, nil, func(context.Context, *caller.Grant) (int, error) {
				bulk.Add(1)
				return 0, nil
			})
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	testkit.Eventually(t, "calls of PriorityLow wait", func() bool { return a.Stats().CallsWaiting > waiting*3/4 && bulk.Load() > 0 })
	for name, c := range map[string]*caller.Pool{"its own process": a, "another process": b} {
		var overtaken []int64
		for range 5 {
			before := bulk.Load()
			if _, err := caller.Do(withPriority(testkit.Context(t), caller.PriorityHigh), c, nil, nop); err != nil {
				t.Fatal(err)
			}
			overtaken = append(overtaken, bulk.Load()-before)
		}
		slices.Sort(overtaken)
		// Those that were booked already, a few, go first; a wait in line would be for hundreds.
		if median := overtaken[2]; median > 20 {
			t.Errorf("%s: got %v calls of PriorityLow served before, of %d that waited, want a median of at most 20", name, overtaken, waiting)
		}
	}
	if bulk.Load() == waiting {
		t.Error("got no call of PriorityLow that still waits, want some: otherwise the test shows nothing")
	}
	cancel()
	wg.Wait()
}

// If calls of high priority take all capacity, a call of low priority is served once it has aged.
func TestPriority_AgingLetsLowThrough(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	limit := caller.Limit{Metric: caller.Requests, Rate: 50, Period: time.Second}
	aging := func(c *caller.Config) { c.Tuning.Aging = 200 * time.Millisecond }
	a := join(t, redistest.Another(t, rdb), limits(limit), aging)
	b := join(t, redistest.Another(t, rdb), limits(limit), aging)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, err := caller.Do(withPriority(ctx, caller.PriorityHigh), a, nil, nop)
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		})
	}
	testkit.Eventually(t, "calls of PriorityHigh wait", func() bool { return a.Stats().CallsWaiting > 20 })
	for name, c := range map[string]*caller.Pool{"the same": a, "another": b} {
		if _, err := caller.Do(withPriority(testkit.Context(t), caller.PriorityLow), c, nil, nop); err != nil {
			t.Errorf("%s process: got %v for a call of PriorityLow, want success", name, err)
		}
	}
	cancel()
	wg.Wait()
}

// Calls above Config.Tuning.MaxWaiting are refused at once; those that wait are served, and then there is room again.
func TestMaxWaiting_RefusesFurtherCalls(t *testing.T) {
	t.Parallel()
	c := join(t, redistest.Client(t), concurrency(1), func(c *caller.Config) { c.Tuning.MaxWaiting = 3 })
	end := hold(t, c)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := caller.Do(testkit.Context(t), c, nil, nop); err != nil {
				t.Errorf("got %v for a call in the queue, want success", err)
			}
		})
	}
	testkit.Eventually(t, "three wait", func() bool { return c.Stats().CallsWaiting == 3 })
	for range 10 {
		_, err := caller.Do(testkit.Context(t), c, nil, nop)
		var e *caller.Error
		if !errors.Is(err, caller.ErrQueueFull) || !as(err, &e) || e.Pool != "p" {
			t.Fatalf("got %v for the fourth call, want ErrQueueFull", err)
		}
	}
	end()
	wg.Wait()
	if _, err := caller.Do(testkit.Context(t), c, nil, nop); err != nil {
		t.Errorf("got %v after the queue has room again, want success", err)
	}
}

// A permit that one process gives back is another's by a message, not by the next poll.
func TestPermits_AreHandedOverByPriority(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	long := func(c *caller.Config) { c.Tuning.SessionTTL = time.Hour } // no heartbeat finds it by chance
	a := join(t, redistest.Another(t, rdb), concurrency(1), long)
	b := join(t, redistest.Another(t, rdb), concurrency(1), long)
	var took []time.Duration
	for range 40 {
		end := hold(t, a)
		got := make(chan time.Time, 1)
		go func() {
			_, err := caller.Do(context.Background(), b, nil, func(context.Context, *caller.Grant) (int, error) {
				got <- time.Now()
				return 0, nil
			})
			if err != nil {
				t.Error(err)
				close(got)
			}
		}()
		testkit.Eventually(t, "the other one waits", func() bool { _, waiting := inRedis(t, rdb, "p"); return waiting == 1 })
		begun := time.Now()
		end()
		took = append(took, (<-got).Sub(begun))
	}
	slices.Sort(took)
	t.Logf("p50 %v, p90 %v, longest %v", took[len(took)/2], took[len(took)*9/10], took[len(took)-1])
	// Without messages none would be faster than the first poll, which comes 125 ms after the call was asked for.
	if fast := took[len(took)/4]; fast > 100*time.Millisecond {
		t.Errorf("got a quarter of the releases to the other process within %v, want at most 100 ms: %v", fast, took)
	}
}
