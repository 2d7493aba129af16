package concurrency

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// Permits that don't divide evenly rotate among the processes, also to a process that holds its even part for long.
func TestFairShare_RotatesTheRemainder(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	const limit = 3
	a, b := newTest(t, rdb, Config{Limit: limit}), another(t, rdb, Config{Limit: limit})
	ctx, cancel := context.WithCancel(t.Context())
	var inUse gauge
	var wg sync.WaitGroup
	for _, s := range []*Semaphore{a, b} {
		wg.Go(func() { use(ctx, s, 2*limit, time.Millisecond, &inUse) })
	}
	served(t, a)
	served(t, b)
	for _, s := range []*Semaphore{a, b} {
		kept := acquire(t, s, 1)
		for range 3 {
			served(t, a)
			served(t, b)
		}
		kept.Release()
	}
	cancel()
	wg.Wait()
	if inUse.most.Load() > limit {
		t.Errorf("permits in use at a time: got %d, want at most %d", inUse.most.Load(), limit)
	}
}

// Processes that could all use every permit get equal parts, independent of the number of their callers.
func TestFairShare_IsEqual(t *testing.T) {
	rdb := redistest.Client(t)
	const limit, processes = 12, 3
	var all []*Semaphore
	ctx, cancel := context.WithCancel(t.Context())
	var inUse gauge
	var wg sync.WaitGroup
	for i := range processes {
		s := another(t, rdb, Config{Limit: limit})
		all = append(all, s)
		wg.Go(func() { use(ctx, s, limit<<i, time.Millisecond, &inUse) })
	}
	testkit.Eventually(t, "each process has its third", func() bool {
		_, st := allocated(t, all[0])
		equal := len(st.Sessions) == processes
		for _, x := range st.Sessions {
			equal = equal && x.Allocated == limit/processes
		}
		return equal
	})
	cancel()
	wg.Wait()
	if inUse.most.Load() > limit {
		t.Errorf("permits in use at a time: got %d, want at most %d", inUse.most.Load(), limit)
	}
}
