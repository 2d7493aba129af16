package concurrency

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/redis/go-redis/v9"
)

// gauge counts permits in use and keeps the highest count.
type gauge struct{ now, most atomic.Int64 }

func (g *gauge) add(n int64) {
	now := g.now.Add(n)
	for m := g.most.Load(); now > m && !g.most.CompareAndSwap(m, now); m = g.most.Load() {
	}
}

// use acquires, holds and releases with several callers until ctx ends, and returns the number of leases.
func use(ctx context.Context, s *Semaphore, callers int, hold time.Duration, inUse *gauge) *atomic.Int64 {
	var done atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				l, err := s.Acquire(ctx)
				if err != nil {
					continue
				}
				inUse.add(1)
				select {
				case <-time.After(hold):
				case <-l.Context().Done():
				}
				inUse.add(-1)
				l.Release()
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return &done
}

// Lost replies and reset connections neither leak a permit nor grant one twice.
func TestLostReplies_NeitherLeakNorDuplicatePermits(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	const limit = 3
	s := newTest(t, f.Client(t, server.Options()), Config{Limit: limit, SessionTTL: 2 * time.Second, IdleTimeout: -1})
	other := newTest(t, server.Client(t), Config{Limit: limit, SessionTTL: 2 * time.Second, IdleTimeout: -1})
	every := func(n int) redistest.Match {
		var seen atomic.Int64
		eval := redistest.Contains("evalsha")
		return func(sent []byte) bool { return eval(sent) && seen.Add(1)%int64(n) == 0 }
	}
	lost, reset := f.LoseReply(every(5)), f.Reset(every(7))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var inUse gauge
	var wg sync.WaitGroup
	var n, m *atomic.Int64
	wg.Go(func() { n = use(ctx, s, 4, time.Millisecond, &inUse) })
	wg.Go(func() { m = use(ctx, other, 4, time.Millisecond, &inUse) })
	wg.Wait()
	if inUse.most.Load() > limit {
		t.Errorf("permits in use at a time: got %d, want at most %d", inUse.most.Load(), limit)
	}
	if lost.Hits() == 0 || reset.Hits() == 0 || n.Load() == 0 || m.Load() == 0 {
		t.Errorf("got %d lost replies, %d reset connections, %d and %d leases, want some of each",
			lost.Hits(), reset.Hits(), n.Load(), m.Load())
	}
	lost.Release()
	reset.Release()
	acquire(t, other, limit).Release() // nothing leaked
}

// A report that Redis runs long after its reply was given up takes no permit.
func TestLateReport_TakesNoPermit(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	s := newTest(t, f.Client(t, server.Options()), Config{Limit: 1, SessionTTL: time.Second, IdleTimeout: -1})
	acquire(t, s, 1).Release()
	returned(t, s)
	held := f.HoldCommand(redistest.Nth(1, redistest.Contains("evalsha")))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Acquire(ctx); !errors.Is(err, ErrDeadline) {
		t.Fatalf("Acquire while the report is held: got %v, want %v", err, ErrDeadline)
	}
	held.Wait(t, 1)
	other := newTest(t, server.Client(t), Config{Limit: 1, SessionTTL: time.Second})
	l := acquire(t, other, 1)
	testkit.Eventually(t, "the report is given up", func() bool { return s.Stats().ScriptCalls >= 4 })
	held.Release()
	if sum, st := allocated(t, other); sum > 1 {
		t.Errorf("allocated permits after the late report: got %d, want at most 1: %+v", sum, st)
	}
	l.Release()
	acquire(t, s, 1).Release()
}

// subscribed waits until n processes are subscribed.
func subscribed(t *testing.T, rdb *redis.Client, n int64) {
	t.Helper()
	testkit.Eventually(t, "the processes are subscribed", func() bool {
		for _, c := range rdb.PubSubNumSub(t.Context(), "penstock:semaphore:{test}").Val() {
			if c >= n {
				return true
			}
		}
		return false
	})
}

// A crash of Redis that loses everything costs no lease. During the outage the process uses its allocation or local share.
func TestRestart_KeepsLeases(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := newTest(t, server.Client(t), Config{Limit: 2, Outage: LocalShare})
	held := acquire(t, s, 1)
	server.Kill()
	acquire(t, s, 1).Release() // from the local share or the allocation
	server.Restart()
	testkit.Eventually(t, "the lease is back in Redis", func() bool { sum, _ := allocated(t, s); return sum >= 1 })
	if held.Err() != nil {
		t.Errorf("the lease after the restart: got %v, want nil", held.Err())
	}
	held.Release()
	acquire(t, s, 2).Release()
}

// The semaphore loads its script again after a SCRIPT FLUSH.
func TestScriptFlush_ReloadsTheScript(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	s := newTest(t, rdb, Config{Limit: 1, IdleTimeout: -1})
	for range 20 {
		if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		acquire(t, s, 1).Release()
	}
	if sum, st := allocated(t, s); sum > 1 {
		t.Errorf("allocated permits: got %d, want at most 1: %+v", sum, st)
	}
}

// If every message is lost, polls serve the waiters.
func TestLostMessages_AreReplacedByPolls(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client(t)
	// No client may publish or subscribe.
	if err := rdb.Do(t.Context(), "acl", "setuser", "default", "resetchannels").Err(); err != nil {
		t.Fatal(err)
	}
	const poll = 100 * time.Millisecond
	cfg := Config{Limit: 1, PollInterval: poll, IdleTimeout: -1}
	a, b := newTest(t, rdb, cfg), newTest(t, server.Client(t), cfg)
	for range 5 {
		held := acquire(t, a, 1)
		got := queued(t, b, testkit.Context(t), 1)
		known(t, b, 1)
		released := time.Now()
		held.Release()
		take(t, got).Release()
		if took := time.Since(released); took > 20*poll {
			t.Errorf("the waiter was served after %v, want at most %v", took, 20*poll)
		}
	}
}
