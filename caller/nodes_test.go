package caller_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/scripts"
)

// slow skips a test that starts several servers, unless CI or PENSTOCK_SLOW is set.
func slow(t *testing.T) {
	t.Helper()
	if os.Getenv("CI") == "" && os.Getenv("PENSTOCK_SLOW") == "" {
		t.Skip("set PENSTOCK_SLOW=1 to run the tests on a cluster and on sentinels")
	}
}

// onNodes runs two replicas of a pool without a pause while do does something to their Redis, and checks that no call is
// lost or made twice, and that the provider sees at most over times what the pool allows. It returns how many script
// calls failed.
func onNodes(t *testing.T, over int64, client func() redis.UniversalClient, do func(goesOn func())) int64 {
	t.Helper()
	var failures atomic.Int64
	const limit, per, concurrency = 200, 2 * time.Second, 3
	p := provider(2, []apisim.Limit{{Metric: apisim.Requests, Limit: over * limit, Per: per}}, int(over)*concurrency)
	p.Latency = apisim.Latency{Min: time.Millisecond, Max: 20 * time.Millisecond}
	f := startOn(t, client, p, 2, roomy, func(cfg *caller.Config) {
		cfg.Limits, cfg.Concurrency = []caller.Limit{{Metric: caller.Requests, Rate: limit, Period: per}}, concurrency
		cfg.Hooks.RedisFailed = func(context.Context, error) { failures.Add(1) }
	})
	ctx, cancel := context.WithCancel(t.Context())
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		f.until(ctx, t, done, 10, func(r, w, i int) []byte { return prompt(fmt.Sprintf("call-%d-%d-%d", r, w, i), 1) })
	}()
	defer func() { // also where do gives up
		cancel()
		<-ended
	}()
	goesOn := func() {
		t.Helper()
		for r := range f.sent {
			before := f.sent[r].Load()
			testkit.Eventually(t, fmt.Sprintf("replica %d makes calls", r), func() bool { return t.Failed() || f.sent[r].Load() > before+20 })
		}
	}
	goesOn()
	do(goesOn)
	goesOn()
	close(done)
	<-ended
	l := f.check(t) // nothing throttled means that no limit was exceeded
	for _, a := range l.Accounts {
		t.Logf("%s: %d of %d requests in a window at most, %d of %d in flight", a.ID, a.Limits[0].Peak, limit, a.MostInFlight, concurrency)
	}
	if rdb, key := client(), scripts.PoolKey("pool"); rdb.TTL(t.Context(), key).Val() <= 0 {
		t.Errorf("got %s without an expiry, want one", key)
	}
	return failures.Load()
}

// inCluster makes clients as the README says.
func inCluster(t *testing.T, c *redistest.Cluster) func() redis.UniversalClient {
	return func() redis.UniversalClient {
		o := c.Options()
		o.ClusterStateReloadInterval = time.Second
		rdb := redis.NewClusterClient(o)
		t.Cleanup(func() { _ = rdb.Close() })
		return rdb
	}
}

// While the pool's hash slot migrates, calls go on.
func TestCluster_MigrationDelaysNoCall(t *testing.T) {
	slow(t)
	c := redistest.StartCluster(t, 0)
	key := scripts.PoolKey("pool")
	slot := c.Slot(key)
	failures := onNodes(t, 1, inCluster(t, c), func(goesOn func()) {
		to := c.Nodes[0]
		if c.Owner(slot) == to {
			to = c.Nodes[1]
		}
		m := c.Migrate(slot, to)
		goesOn()
		m.Move(key)
		goesOn()
		m.Finish()
		goesOn()
	})
	if failures > 0 {
		t.Errorf("got %d failed script calls, want none", failures)
	}
}

// After a planned failover and after a master's death calls go on. What the dead master had not replicated is admitted
// once more.
func TestCluster_FailoverKeepsCalls(t *testing.T) {
	slow(t)
	c := redistest.StartCluster(t, 1)
	slot := c.Slot(scripts.PoolKey("pool"))
	onNodes(t, 2, inCluster(t, c), func(goesOn func()) {
		c.Failover(c.Owner(slot))
		goesOn()
		c.Crash(c.Owner(slot))
	})
}

// The same holds under Sentinel, also if the replica lags behind: the master crashes, or hands over.
func TestSentinel_FailoverKeepsCalls(t *testing.T) {
	slow(t)
	for name, replace := range map[string]func(s *redistest.Sentinel){
		"crash":    func(s *redistest.Sentinel) { s.Crash() },
		"failover": func(s *redistest.Sentinel) { s.Failover() },
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.StartSentinel(t, 1)
			onNodes(t, 2, func() redis.UniversalClient { return s.Client(t) }, func(goesOn func()) {
				s.Master().LoseReplicas()
				goesOn()
				replace(s)
			})
		})
	}
}
