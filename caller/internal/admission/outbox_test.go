package admission

import (
	"testing"
	"time"

	"github.com/penstock/penstock/scripts"
)

// topologyOf returns the topology of limits for account "k".
func topologyOf(limits ...Limit) *topology {
	cfg := configOf(limits, "k")
	groups := newModelGroups(limits)
	return newTopology(&cfg, mergeAccounts(nil, cfg.Accounts), groups.list, noon)
}

// A settlement whose outcome Redis can't know any more, because it has forgotten which call of the session was the last to
// run, isn't repeated if it is a refund; a debt is.
func TestOutbox_ForgottenRefundIsLeftOut(t *testing.T) {
	t.Parallel()
	topo := topologyOf(hourly())
	for _, test := range []struct {
		units    int64
		after    time.Duration
		repeated bool
	}{{-7, 0, true}, {-7, 59 * time.Second, true}, {-7, 60 * time.Second, false}, {5, time.Hour, true}} {
		var o outbox
		o.settle(noon, topo.counters[0].name, test.units)
		o.requeue(o.drain(1, noon), 1, scripts.Unknown, noon)
		later := noon.Add(test.after)
		d := o.drain(2, later)
		reports := d.encode(topo, later, time.Minute)
		if len(reports) == 0 || reports[0].Kind != scripts.UnlessRan || reports[0].Seq != 1 || (len(reports) == 2) != test.repeated {
			t.Errorf("%d units, %v later: got %+v, want repeated: %v", test.units, test.after, reports, test.repeated)
		}
	}
}
