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

// gauge counts what is in use and remembers the most.
type gauge struct{ now, most atomic.Int64 }

func (g *gauge) add(n int64) {
	now := g.now.Add(n)
	for m := g.most.Load(); now > m && !g.most.CompareAndSwap(m, now); m = g.most.Load() {
	}
}

// use acquires, holds and releases with several callers until ctx ends, and returns how often it did.
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

// Replies that are lost or late, and connections that are reset, neither leak a permit nor let one out twice.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	const limit = 3
	s := newTest(t, f.Client(t, server.Options()), limit, WithTTL(2*time.Second), WithLinger(0))
	other := newTest(t, server.Client(t), limit, WithTTL(2*time.Second), WithLinger(0))
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
		t.Errorf("%d permits of %d were in use at a time", inUse.most.Load(), limit)
	}
	if lost.Hits() == 0 || reset.Hits() == 0 || n.Load() == 0 || m.Load() == 0 {
		t.Errorf("%d replies were lost, %d connections reset, %d and %d leases had: the test says nothing",
			lost.Hits(), reset.Hits(), n.Load(), m.Load())
	}
	lost.Release()
	reset.Release()
	acquire(t, other, limit).Release() // nothing leaked
}

// A report that is executed long after its answer was given up takes nothing.
func TestLateReport(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	s := newTest(t, f.Client(t, server.Options()), 1, WithTTL(time.Second), WithLinger(0))
	acquire(t, s, 1).Release()
	eventually(t, "the permit is back", func() bool { sum, _ := allocated(t, s); return sum == 0 })
	held := f.HoldCommand(redistest.Nth(1, redistest.Contains("evalsha")))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("with a report under way: %v", err)
	}
	held.Wait(t, 1)
	other := newTest(t, server.Client(t), 1, WithTTL(time.Second))
	l := acquire(t, other, 1)
	eventually(t, "the report is given up", func() bool { return s.Stats().Calls >= 4 })
	held.Release()
	if sum, st := allocated(t, other); sum > 1 {
		t.Errorf("the late report took a permit: %+v", st)
	}
	l.Release()
	acquire(t, s, 1).Release()
}

// After a flush processes put back what they hold, and what was let out beyond the limit heals by itself.
func TestFlush(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	a, b := newTest(t, rdb, 2), newTest(t, server.Client(t), 2)
	old := acquire(t, a, 2)
	subscribed(t, rdb, 1)
	var extra *Lease
	eventually(t, "b reports before a does", func() bool {
		if err := rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		l, err := b.TryAcquireN(t.Context(), 2) // nobody can know better yet: this is the documented bound
		extra = l
		return err == nil
	})
	eventually(t, "a has put back what it holds", func() bool { sum, _ := allocated(t, b); return sum == 4 })
	if old.Err() != nil {
		t.Errorf("a flush took a lease: %v", old.Err())
	}
	waiting := queued(t, b, bounded(t), 1)
	known(t, b, 1)
	old.Release()
	eventually(t, "a has given back", func() bool { sum, _ := allocated(t, b); return sum == 2 })
	none(t, waiting)
	extra.Release()
	take(t, waiting).Release()
}

// subscribed waits until so many processes listen.
func subscribed(t *testing.T, rdb *redis.Client, n int64) {
	t.Helper()
	eventually(t, "the processes listen", func() bool {
		for _, c := range rdb.PubSubNumSub(t.Context(), "penstock:semaphore:{test}").Val() {
			if c >= n {
				return true
			}
		}
		return false
	})
}

// A crash of Redis that loses everything is like a flush, with a time without Redis before.
func TestRestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := newTest(t, server.Client(t), 2)
	held := acquire(t, s, 1)
	server.Kill()
	acquire(t, s, 1).Release() // a local share, or what it has
	server.Restart()
	eventually(t, "the lease is back in Redis", func() bool { sum, _ := allocated(t, s); return sum >= 1 })
	if held.Err() != nil {
		t.Errorf("the lease was lost: %v", held.Err())
	}
	held.Release()
	acquire(t, s, 2).Release()
}

func TestScriptFlush(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	s := newTest(t, rdb, 1, WithLinger(0))
	for range 20 {
		if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		acquire(t, s, 1).Release()
	}
	if sum, st := allocated(t, s); sum > 1 {
		t.Errorf("%d permits of 1 are allocated: %+v", sum, st)
	}
}

// Without any message every waiter is served within the poll interval.
func TestLostMessages(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client(t)
	// Nobody may publish or subscribe.
	if err := rdb.Do(t.Context(), "acl", "setuser", "default", "resetchannels").Err(); err != nil {
		t.Fatal(err)
	}
	const poll = 100 * time.Millisecond
	options := []Option{WithPoll(poll), WithLinger(0)}
	a, b := newTest(t, rdb, 1, options...), newTest(t, server.Client(t), 1, options...)
	for range 5 {
		held := acquire(t, a, 1)
		got := queued(t, b, bounded(t), 1)
		known(t, b, 1)
		released := time.Now()
		held.Release()
		take(t, got).Release()
		if took := time.Since(released); took > 20*poll {
			t.Errorf("served %v after the release, with a poll every %v", took, poll)
		}
	}
}
