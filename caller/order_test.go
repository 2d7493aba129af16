package caller_test

import (
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// readOrders makes calls for as long as a process needs to read what operators have disabled, and once more.
func readOrders(t *testing.T, pools ...*caller.Pool) {
	t.Helper()
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, p := range pools {
			if _, err := caller.Do(testkit.Context(t), p, nil, nop); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// usable reports whether a key is in use, as a pool sees it.
func usable(t *testing.T, p *caller.Pool, id string) bool {
	t.Helper()
	s, err := p.Inspect(testkit.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range s.Keys {
		if k.ID == id {
			return k.Ready()
		}
	}
	t.Fatalf("got %+v, want key %s", s.Keys, id)
	return false
}

// What an operator has disabled from another process stays so after a FLUSHALL, while any process lives that knew it. What was
// enabled since stays enabled.
func TestOrder_OutlivesALossOfRedis(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	a, b := join(t, rdb, keys(key("k1"), key("k2"))), join(t, rdb, keys(key("k1"), key("k2")))
	readOrders(t, a, b)
	admin := openAdmin(t, rdb)
	if err := admin.Disable(testkit.Context(t), "k1", "leaked"); err != nil {
		t.Fatal(err)
	}
	if usable(t, a, "k1") || usable(t, b, "k1") {
		t.Error("k1 after Disable: got it in use, want it disabled for every process")
	}
	if err := admin.Close(testkit.Context(t)); err != nil {
		t.Fatal(err)
	}
	readOrders(t, a, b)
	if err := b.Close(testkit.Context(t)); err != nil {
		t.Fatal(err)
	}
	flush := func() {
		t.Helper()
		if err := rdb.FlushAll(testkit.Context(t)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	c := join(t, rdb, keys(key("k1"), key("k2")))
	if _, err := caller.Do(testkit.Context(t), a, nil, nop); err != nil {
		t.Fatal(err)
	}
	if usable(t, c, "k1") {
		t.Error("k1 after FLUSHALL: got it in use, want it restored by a process that didn't disable it")
	}
	readOrders(t, a, c)
	if err := c.Enable(testkit.Context(t), "k1"); err != nil {
		t.Fatal(err)
	}
	readOrders(t, a, c)
	flush()
	readOrders(t, a, c)
	if !usable(t, a, "k1") {
		t.Error("k1 after Enable and FLUSHALL: got it disabled, want an old process not to undo Enable")
	}
}
