package redistest

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// During a migration, moved keys are redirected, and after it the target serves the slot.
func TestCluster_MigratesASlot(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, 0)
	rdb := c.Client(t)
	ctx := t.Context()
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		if err := rdb.Set(ctx, key, key, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	from := c.Owner(c.Slot("{x}"))
	to := c.Nodes[0]
	if to == from {
		to = c.Nodes[1]
	}
	rdb.MSet(ctx, "{x}1", 1, "{x}2", 2, "{x}3", 3)
	m := c.Migrate(c.Slot("{x}"), to)
	m.Move("{x}1")
	if err := rdb.Incr(ctx, "{x}1").Err(); err != nil {
		t.Errorf("one key in mid-migration: %v", err)
	}
	opts := c.Options()
	opts.MaxRedirects = 1
	strict := redis.NewClusterClient(opts)
	defer strict.Close()
	if err := strict.MGet(ctx, "{x}1", "{x}2").Err(); err == nil || !strings.HasPrefix(err.Error(), "TRYAGAIN") {
		t.Errorf("two keys in mid-migration: error = %v, want TRYAGAIN", err)
	}
	m.Finish()
	if got := c.Owner(c.Slot("{x}")); got != to {
		t.Errorf("the slot is at %s, want %s", got.Addr(), to.Addr())
	}
	if got, err := rdb.MGet(ctx, "{x}1", "{x}2", "{x}3").Result(); err != nil || got[0] != "2" || got[2] != "3" {
		t.Errorf("after the migration: %v, %v", got, err)
	}
}

// After an orderly failover and after a crash, a replica serves the master's slots.
func TestCluster_FailsOver(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, 1)
	rdb := c.Client(t)
	ctx := t.Context()
	if err := rdb.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	master := c.Owner(c.Slot("k"))
	next := c.Failover(master)
	if next == master || c.Owner(c.Slot("k")) != next {
		t.Error("no failover")
	}
	c.inSync(master) // now a replica
	last := c.Crash(next)
	if last != master || c.Owner(c.Slot("k")) != master {
		t.Error("the replica has not taken over")
	}
	if got, err := c.admin[last].Get(ctx, "k").Result(); got != "v" || err != nil {
		t.Errorf("Get = %q, %v", got, err)
	}
}

// After an orderly failover and after a crash, clients follow the new master.
func TestSentinel_FailsOver(t *testing.T) {
	t.Parallel()
	s := StartSentinel(t, 1)
	rdb := s.Client(t)
	ctx := t.Context()
	if err := rdb.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	old := s.Master()
	if old != s.Nodes[0] {
		t.Error("the first node is not the master")
	}
	direct := s.Nodes[1].Client(t)
	eventually(t, "the write is replicated", func() error { return direct.Get(ctx, "k").Err() })
	next := s.Crash()
	if next != s.Nodes[1] || s.Master() != next {
		t.Error("the replica has not taken over")
	}
	eventually(t, "the client follows", func() error { return rdb.Set(ctx, "k", "w", 0).Err() })
	if got, err := next.Client(t).Get(ctx, "k").Result(); got != "w" || err != nil {
		t.Errorf("Get = %q, %v", got, err)
	}
}

// Orderly failovers make the replica the master, and the old master a replica, which follows in its turn.
func TestSentinel_FailoverSwitchesTheMaster(t *testing.T) {
	t.Parallel()
	s := StartSentinel(t, 1)
	for range 3 {
		old := s.Master()
		if now := s.Failover(); now == old || s.Master() != now {
			t.Errorf("the master after a failover: got %s, want another than %s", now.Addr(), old.Addr())
		}
	}
}
