package concurrency

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
)

// What doesn't divide evenly goes round, also to a process whose even part is held for long, and whoever began to wait
// first.
func TestRemainderGoesRound(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	const limit = 3
	a, b := newTest(t, rdb, limit), another(t, rdb, limit)
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
		t.Errorf("%d permits of %d were in use at a time", inUse.most.Load(), limit)
	}
}

// Processes that all could use every permit get equal parts, whatever the number of their callers.
func TestEqualParts(t *testing.T) {
	rdb := redistest.Client(t)
	const limit, processes = 12, 3
	var all []*Semaphore
	ctx, cancel := context.WithCancel(t.Context())
	var inUse gauge
	var wg sync.WaitGroup
	for i := range processes {
		s := another(t, rdb, limit)
		all = append(all, s)
		wg.Go(func() { use(ctx, s, limit<<i, time.Millisecond, &inUse) })
	}
	eventually(t, "each process has its third", func() bool {
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
		t.Errorf("%d permits of %d were in use at a time", inUse.most.Load(), limit)
	}
}
