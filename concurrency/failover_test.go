package concurrency

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
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

// busy uses a semaphore from two processes while do runs, and returns the highest number of permits in use.
func busy(t *testing.T, limit int, clients func() redis.UniversalClient, do func(a, b *Semaphore, inUse *gauge)) int64 {
	t.Helper()
	a, b := newTest(t, clients(), Config{Limit: limit}), newTest(t, clients(), Config{Limit: limit})
	ctx, cancel := context.WithCancel(t.Context())
	var inUse gauge
	var wg sync.WaitGroup
	for _, s := range []*Semaphore{a, b} {
		wg.Go(func() { use(ctx, s, 2*limit, time.Millisecond, &inUse) })
	}
	served(t, a)
	served(t, b)
	do(a, b, &inUse)
	served(t, a)
	served(t, b)
	cancel()
	wg.Wait()
	return inUse.most.Load()
}

// served waits until a process has been granted 20 more leases.
func served(t *testing.T, s *Semaphore) {
	t.Helper()
	before := s.Stats().LeasesGranted
	testkit.Eventually(t, "the process is granted permits", func() bool { return s.Stats().LeasesGranted > before+20 })
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

// While its slot migrates, a semaphore keeps serving, and afterwards messages still arrive.
func TestCluster_ServesDuringSlotMigration(t *testing.T) {
	t.Parallel()
	slow(t)
	c := redistest.StartCluster(t, 0)
	clients := clusterClients(t, c)
	key := scripts.SemaphoreKey("test")
	slot := c.Slot(key)
	const limit = 3
	most := busy(t, limit, clients, func(a, b *Semaphore, _ *gauge) {
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
			if s.session.failures > 0 || s.stats.LeasesLost > 0 {
				t.Errorf("after the migration: got %d failures (%v) and %d lost leases, want none", s.session.failures, s.session.err, s.stats.LeasesLost)
			}
			s.mu.Unlock()
		}
	})
	if most > limit {
		t.Errorf("permits in use at a time: got %d, want at most %d", most, limit)
	}
	handOffByMessage(t, clients)
}

// handOffByMessage checks that a message wakes a waiter whose next poll is far away.
func handOffByMessage(t *testing.T, clients func() redis.UniversalClient) {
	t.Helper()
	cfg := Config{Limit: 1, PollInterval: DefaultSessionTTL}
	a, b := newTest(t, clients(), cfg), newTest(t, clients(), cfg)
	l := acquire(t, a, 1)
	got := queued(t, b, testkit.Context(t), 1)
	known(t, b, 1)
	begin := time.Now()
	l.Release()
	take(t, got).Release()
	if took := time.Since(begin); took > DefaultSessionTTL/2 {
		t.Errorf("a waiter was woken after %v, want it at once: no message came", took)
	}
}

// A master that crashes loses the writes that it hadn't replicated. Never more permits than the limit are in use.
func TestCluster_CrashKeepsTheLimit(t *testing.T) {
	t.Parallel()
	slow(t)
	c := redistest.StartCluster(t, 1)
	const limit = 3
	most := busy(t, limit, clusterClients(t, c), func(a, _ *Semaphore, _ *gauge) {
		c.Failover(c.Owner(c.Slot(scripts.SemaphoreKey("test"))))
		served(t, a)
		c.Crash(c.Owner(c.Slot(scripts.SemaphoreKey("test"))))
	})
	if most > limit {
		t.Errorf("permits in use at a time: got %d, want at most %d", most, limit)
	}
}

// A failover by sentinels, of which the replica lags behind, costs no lease if it is shorter than the TTL. Never more
// permits than the limit are in use, whether the master has crashed or hands over.
func TestSentinel_LaggingReplicaKeepsTheLimitAndLeases(t *testing.T) {
	t.Parallel()
	slow(t)
	for name, replace := range map[string]func(*redistest.Sentinel){
		"crash":    func(s *redistest.Sentinel) { s.Crash() },
		"failover": func(s *redistest.Sentinel) { s.Failover() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.StartSentinel(t, 1)
			const limit = 4
			var kept *Lease
			most := busy(t, limit, func() redis.UniversalClient { return s.Client(t) }, func(a, b *Semaphore, inUse *gauge) {
				s.Master().LoseReplicas()
				kept = acquire(t, a, 1) // no replica knows of it
				inUse.add(1)
				served(t, b)
				replace(s)
			})
			if most > limit {
				t.Errorf("permits in use at a time: got %d, want at most %d", most, limit)
			}
			if kept.Err() != nil {
				t.Errorf("the lease after the failover: got %v, want nil", kept.Err())
			}
			kept.Release()
		})
	}
}
