package concurrency

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/scripts"
	"github.com/redis/go-redis/v9"
)

// slow skips a test that starts several servers, unless CI or PENSTOCK_SLOW is set.
func slow(t *testing.T) {
	t.Helper()
	if os.Getenv("CI") == "" && os.Getenv("PENSTOCK_SLOW") == "" {
		t.Skip("set PENSTOCK_SLOW=1 to run the tests on a cluster and on sentinels")
	}
}

// busy uses a semaphore from two processes while do runs, and returns the most permits in use at a time.
func busy(t *testing.T, limit int, clients func() redis.UniversalClient, do func(a, b *Semaphore)) int64 {
	t.Helper()
	a, b := newTest(t, clients(), limit), newTest(t, clients(), limit)
	ctx, cancel := context.WithCancel(t.Context())
	var inUse gauge
	var wg sync.WaitGroup
	for _, s := range []*Semaphore{a, b} {
		wg.Go(func() { use(ctx, s, 2*limit, time.Millisecond, &inUse) })
	}
	served(t, a)
	served(t, b)
	do(a, b)
	served(t, a)
	served(t, b)
	cancel()
	wg.Wait()
	return inUse.most.Load()
}

// served waits until a process has got something from now on.
func served(t *testing.T, s *Semaphore) {
	t.Helper()
	before := s.Stats().Acquired
	eventually(t, "a process gets permits", func() bool { return s.Stats().Acquired > before+20 })
}

func clusterClients(t *testing.T, c *redistest.Cluster) func() redis.UniversalClient {
	return func() redis.UniversalClient {
		o := c.Options()
		o.ClusterStateReloadInterval = time.Second
		rdb := redis.NewClusterClient(o)
		t.Cleanup(func() { rdb.Close() })
		return rdb
	}
}

// While its slot migrates, a semaphore works on as if nothing were, and afterwards messages still come.
func TestSlotMigration(t *testing.T) {
	t.Parallel()
	slow(t)
	c := redistest.StartCluster(t, 0)
	clients := clusterClients(t, c)
	key := scripts.SemaphoreKey("test")
	slot := c.Slot(key)
	const limit = 3
	most := busy(t, limit, clients, func(a, b *Semaphore) {
		from := c.Owner(slot)
		for s := range 16384 {
			if to := c.Owner(s); to != from {
				m := c.Migrate(slot, to)
				served(t, a)
				m.Move(key)
				served(t, a)
				served(t, b)
				m.Finish()
				break
			}
		}
		for _, s := range []*Semaphore{a, b} {
			s.mu.Lock()
			if s.session.failures > 0 || s.stats.Lost > 0 {
				t.Errorf("the migration was felt: %d failures, %v, %d leases lost", s.session.failures, s.session.err, s.stats.Lost)
			}
			s.mu.Unlock()
		}
	})
	if most > limit {
		t.Errorf("%d permits of %d were in use at a time", most, limit)
	}
	handOffByMessage(t, clients)
}

// handOffByMessage checks that a waiter is woken although it would not poll for a long time.
func handOffByMessage(t *testing.T, clients func() redis.UniversalClient) {
	t.Helper()
	o := []Option{WithPoll(DefaultTTL)}
	a, b := newTest(t, clients(), 1, o...), newTest(t, clients(), 1, o...)
	l := acquire(t, a, 1)
	got := queued(t, b, bounded(t), 1)
	known(t, b, 1)
	begin := time.Now()
	l.Release()
	take(t, got).Release()
	if took := time.Since(begin); took > DefaultTTL/2 {
		t.Errorf("a waiter was woken after %v: no message came", took)
	}
}

// A master that crashes takes with it what it had not replicated: until the processes have reported again, no more than
// twice the limit is in use, and afterwards the books are right.
func TestClusterCrash(t *testing.T) {
	t.Parallel()
	slow(t)
	c := redistest.StartCluster(t, 1)
	const limit = 3
	most := busy(t, limit, clusterClients(t, c), func(a, b *Semaphore) {
		c.Failover(c.Owner(c.Slot(scripts.SemaphoreKey("test"))))
		served(t, a)
		c.Crash(c.Owner(c.Slot(scripts.SemaphoreKey("test"))))
	})
	if most > 2*limit {
		t.Errorf("%d permits were in use at a time, which is more than twice the limit of %d", most, limit)
	}
}

func TestSentinelCrash(t *testing.T) {
	t.Parallel()
	slow(t)
	s := redistest.StartSentinel(t, 1)
	const limit = 3
	var kept *Lease
	most := busy(t, limit, func() redis.UniversalClient { return s.Client(t) }, func(a, _ *Semaphore) {
		kept = acquire(t, a, 1)
		s.Crash()
	})
	if most > 2*limit {
		t.Errorf("%d permits were in use at a time, which is more than twice the limit of %d", most, limit)
	}
	if kept.Err() != nil {
		t.Errorf("a lease was lost to a failover shorter than the TTL: %v", kept.Err())
	}
	kept.Release()
}
