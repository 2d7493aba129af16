package concurrency

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// A permit can be acquired again after its release, which counts once.
func TestRelease_FreesThePermitOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newTest(t, rdb, Config{Limit: 2})
		a, b := acquire(t, s, 1), acquire(t, s, 1)
		if _, err := s.TryAcquire(t.Context()); !errors.Is(err, ErrFull) {
			t.Fatalf("a third permit of two: got %v, want %v", err, ErrFull)
		}
		a.Release()
		a.Release() // without effect
		c := acquire(t, s, 1)
		if a.Context().Err() == nil || !errors.Is(a.Err(), context.Canceled) {
			t.Errorf("a released lease: got %v, want %v", a.Err(), context.Canceled)
		}
		if c.Err() != nil || c.Context().Err() != nil {
			t.Errorf("a held lease: got %v, want nil", c.Err())
		}
		b.Release()
		c.Release()
	})
}

// Several processes together never hold more than the limit, and all of their requests are granted.
func TestLimit_HoldsAcrossProcesses(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		const limit, processes, callers, rounds = 3, 4, 5, 20
		var inUse, most atomic.Int64
		var wg sync.WaitGroup
		for range processes {
			s := newTest(t, rdb, Config{Limit: limit})
			for range callers {
				wg.Go(func() {
					for range rounds {
						l, err := s.Acquire(t.Context())
						if err != nil {
							t.Error(err)
							return
						}
						n := inUse.Add(1)
						for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
						}
						time.Sleep(200 * time.Microsecond)
						inUse.Add(-1)
						l.Release()
					}
				})
			}
		}
		wg.Wait()
		if most.Load() > limit {
			t.Errorf("permits in use at a time: got %d, want at most %d", most.Load(), limit)
		}
	})
}
