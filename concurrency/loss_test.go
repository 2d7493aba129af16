package concurrency

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/scripts"
)

// After a flush, no process is granted a permit that another holds: one that has never used the semaphore, one that is
// idle, or one that waits. The leases live on, and their permits go to the waiters when they are released.
func TestFlush_GrantsNoPermitTwice(t *testing.T) {
	const limit = 2
	for name, prepare := range map[string]func(t *testing.T, s *Semaphore){
		"new": func(*testing.T, *Semaphore) {},
		"idle": func(t *testing.T, s *Semaphore) {
			acquire(t, s, 1).Release()
			returned(t, s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			rdb := server.Client(t)
			a, b := newTest(t, rdb, Config{Limit: limit}), newTest(t, server.Client(t), Config{Limit: limit})
			prepare(t, b)
			held := acquire(t, a, limit)
			subscribed(t, rdb, 1)
			for range 10 {
				if err := rdb.FlushAll(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
				if l, err := b.TryAcquire(t.Context()); !errors.Is(err, ErrFull) {
					t.Fatalf("TryAcquire after the flush: got %v and %v, want %v", l, err, ErrFull)
				}
			}
			waiting := queued(t, b, testkit.Context(t), limit)
			known(t, b, limit)
			rdb.FlushAll(t.Context())
			testkit.Eventually(t, "a has reported what it holds", func() bool {
				_, st := allocated(t, b)
				return len(st.Sessions) == 2
			})
			none(t, waiting)
			if err := held.Err(); err != nil {
				t.Errorf("the lease after the flush: got %v, want nil", err)
			}
			start := time.Now()
			held.Release()
			take(t, waiting).Release()
			if took := time.Since(start); took > DefaultSessionTTL/3 {
				t.Errorf("the waiter was granted the released permits after %v, want at most a heartbeat", took)
			}
		})
	}
}

// While three processes use all permits, Redis is flushed again and again. Never more permits than the limit are in use, and
// each process goes on.
func TestFlush_NeverExceedsTheLimit(t *testing.T) {
	t.Parallel()
	const limit, processes = 5, 3
	server := redistest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	var inUse gauge
	var wg sync.WaitGroup
	var all []*Semaphore
	for range processes {
		s := newTest(t, server.Client(t), Config{Limit: limit, SessionTTL: 2 * time.Second})
		all = append(all, s)
		wg.Go(func() { use(ctx, s, limit, 30*time.Millisecond, &inUse) })
	}
	rdb := server.Client(t)
	for i := range 8 {
		for _, s := range all {
			served(t, s)
		}
		if i%2 == 0 {
			rdb.FlushAll(ctx)
		} else {
			rdb.Del(ctx, scripts.SemaphoreKey("test"))
		}
	}
	for _, s := range all {
		served(t, s)
	}
	cancel()
	wg.Wait()
	if most := inUse.most.Load(); most > limit {
		t.Errorf("permits in use at a time: got %d, want at most %d", most, limit)
	}
}
