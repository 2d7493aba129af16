package admission

import (
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/scripts"
)

// A settlement that can't be true is an error and isn't sent; others are.
func TestGrant_SettleRefusesWhatCannotBeTrue(t *testing.T) {
	t.Parallel()
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, _ *fakeRedis) {
		var g Grant
		if err := c.Acquire(t.Context(), Request{Units: []int64{10}}, &g); err != nil {
			t.Fatal(err)
		}
		defer g.Release()
		limit := c.cfg.Limits[0].Usable
		for _, delta := range []int64{1 << 40, 2*limit + 1, -11} {
			if err := g.Settle([]int64{delta}); !errors.Is(err, ErrSettlement) {
				t.Errorf("%d: got %v, want ErrSettlement", delta, err)
			}
		}
		if !c.outbox.empty() {
			t.Errorf("got %+v in the outbox, want nothing", c.outbox.settlements)
		}
		if err := g.Settle([]int64{-10}); err != nil {
			t.Errorf("a refund of all: got %v, want none", err)
		}
	})
}

// A refund carries the time of its charge, cut to seconds, so that Redis can tell whether the charge still counts.
func TestOutbox_RefundsCarryTheTimeOfTheirCharge(t *testing.T) {
	t.Parallel()
	topo := topologyOf(hourly())
	name := topo.counters[0].name
	var o outbox
	o.settle(noon, charge{name, 5_000_000}, -3)
	o.settle(noon, charge{name, 5_000_000}, -2)
	o.settle(noon, charge{name, 6_000_000}, -1)
	d := o.drain(1, noon)
	got := map[int64]int64{}
	for _, r := range d.encode(topo, noon, time.Minute) {
		if r.Kind == scripts.SettleCounter {
			got[r.Charged] += r.Units
		}
	}
	if len(got) != 2 || got[5_000_000] != -5 || got[6_000_000] != -1 {
		t.Errorf("got %v, want -5 and -1 by time of charge", got)
	}
}
