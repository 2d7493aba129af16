package redistest

import (
	"strconv"
)

// Migration is a slot on its way from one master to another, stopped where the test wants it: while it is under way,
// commands on keys that have moved are redirected with ASK, and commands on several keys of which only some have moved
// fail with TRYAGAIN.
type Migration struct {
	cluster  *Cluster
	slot     int
	from, to *Server
}

// Migrate begins the migration of a slot. No key has moved when it returns.
func (c *Cluster) Migrate(slot int, to *Server) *Migration {
	c.t.Helper()
	m := &Migration{cluster: c, slot: slot, from: c.Owner(slot), to: to}
	if m.from == to {
		c.t.Fatalf("slot %d is at %s already", slot, to.Addr())
	}
	ctx := c.t.Context()
	c.check(c.admin[to].Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", c.ids[m.from]).Err())
	c.check(c.admin[m.from].Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", c.ids[to]).Err())
	return m
}

// Move moves these keys, which must exist at the source.
func (m *Migration) Move(keys ...string) {
	c := m.cluster
	c.t.Helper()
	if len(keys) == 0 {
		return
	}
	args := []any{"MIGRATE", "127.0.0.1", strconv.Itoa(m.to.port), "", 0, bound.Milliseconds(), "KEYS"}
	for _, k := range keys {
		args = append(args, k)
	}
	c.check(c.admin[m.from].Do(c.t.Context(), args...).Err())
}

// Finish moves the keys that are left, makes the target the slot's master, and returns when all nodes know it.
func (m *Migration) Finish() {
	c := m.cluster
	c.t.Helper()
	ctx := c.t.Context()
	for {
		keys, err := c.admin[m.from].ClusterGetKeysInSlot(ctx, m.slot, 100).Result()
		c.check(err)
		if len(keys) == 0 {
			break
		}
		m.Move(keys...)
	}
	want := c.owners()
	want[m.slot] = m.to
	// The target first: from then on it serves the slot, whomever a client asks.
	c.check(c.admin[m.to].Do(ctx, "CLUSTER", "SETSLOT", m.slot, "NODE", c.ids[m.to]).Err())
	c.check(c.admin[m.from].Do(ctx, "CLUSTER", "SETSLOT", m.slot, "NODE", c.ids[m.to]).Err())
	c.settle(want)
}
