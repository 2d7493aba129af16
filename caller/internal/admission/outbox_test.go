package admission

import (
	"slices"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/scripts"
)

// topologyOf returns the topology of limits for account "k".
func topologyOf(limits ...Limit) *topology {
	cfg := configOf(limits, "k")
	groups := newModelGroups(limits, nil)
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
		o.settle(noon, charge{counter: topo.counters[0].name}, test.units)
		o.requeue(o.drain(1, noon), 1, scripts.Unknown, noon)
		later := noon.Add(test.after)
		d := o.drain(2, later)
		reports := d.encode(topo, later, time.Minute)
		if len(reports) == 0 || reports[0].Kind != scripts.UnlessRan || reports[0].Seq != 1 || (len(reports) == 2) != test.repeated {
			t.Errorf("%d units, %v later: got %+v, want repeated: %v", test.units, test.after, reports, test.repeated)
		}
	}
}

// What is added is due together, from the time of the oldest, and is gone once drained and confirmed.
func TestOutbox_DrainTakesReportsAndSettlements(t *testing.T) {
	t.Parallel()
	topo := topologyOf(hourly())
	var o outbox
	confirmed := make(chan struct{})
	r := cooldown("k", noon.Add(time.Minute))
	r.confirmed = confirmed
	o.add(noon, r)
	o.settle(noon.Add(time.Second), charge{counter: topo.counters[0].name}, 5)
	o.settle(noon.Add(time.Second), charge{counter: topo.counters[0].name}, -2)
	o.urgent = true
	if o.empty() || !o.since.Equal(noon) {
		t.Errorf("got empty: %v, since %v, want reports since noon", o.empty(), o.since)
	}
	d := o.drain(7, noon.Add(10*time.Second))
	if !o.empty() || o.urgent {
		t.Errorf("after drain: got %+v, want nothing", o)
	}
	reports := d.encode(topo, noon.Add(10*time.Second), time.Minute)
	want := []scripts.PoolReport{
		{Kind: scripts.CoolBlock, Block: "a:k", For: 50 * time.Second, Reason: "test"},
		{Kind: scripts.UnlessRan, Seq: 7},
		{Kind: scripts.SettleCounter, Limit: 0, Owner: "k", Units: 3},
	}
	if !slices.Equal(reports, want) {
		t.Errorf("got reports\n%+v, want\n%+v", reports, want)
	}
	d.confirm()
	testkit.Receive(t, "the confirmation", confirmed)
}

// What a call carried comes back when the call fails: first, urgent, and settlements of their own seq if it may have run.
func TestOutbox_RequeueAfterAnUnknownCallRepeatsUnlessItRan(t *testing.T) {
	t.Parallel()
	topo := topologyOf(hourly())
	counter := topo.counters[0].name
	var o outbox
	o.add(noon, cooldown("k", noon.Add(time.Minute)))
	o.urgent = true
	o.settle(noon, charge{counter: counter}, 5)
	d := o.drain(1, noon)
	o.add(noon, cooldown("other", noon.Add(time.Minute)))
	o.settle(noon, charge{counter: counter}, 2)
	o.requeue(d, 1, scripts.Unknown, noon)
	if !o.urgent || len(o.reports) != 2 || o.reports[0].Block != "a:k" {
		t.Errorf("got %+v, want both reports, the older one first, urgent", o)
	}
	d = o.drain(2, noon)
	if d.unconfirmed == nil || d.unconfirmed.seq != 1 || d.unconfirmed.settlements[charge{counter: counter}] != 5 {
		t.Errorf("got %+v, want the settlement of call 1 alone", d.unconfirmed)
	}
	if o.empty() || o.settlements[charge{counter: counter}] != 2 {
		t.Errorf("got %+v left, want the later settlement to wait", o)
	}
	if d = o.drain(3, noon); d.unconfirmed == nil || d.unconfirmed.seq != 3 || d.unconfirmed.settlements[charge{counter: counter}] != 2 {
		t.Errorf("got %+v, want the later settlement in a later call", d.unconfirmed)
	}
}

// A call that didn't run leaves no doubt: its settlements are added to later ones.
func TestOutbox_RequeueAfterACallThatDidNotRunMergesSettlements(t *testing.T) {
	t.Parallel()
	var o outbox
	o.settle(noon, charge{counter: "c"}, 5)
	d := o.drain(1, noon)
	o.settle(noon, charge{counter: "c"}, 2)
	o.requeue(d, 1, scripts.NotRun, noon)
	if d = o.drain(2, noon); d.unconfirmed == nil || d.unconfirmed.seq != 2 || d.unconfirmed.settlements[charge{counter: "c"}] != 7 {
		t.Errorf("got %+v, want 7 units in call 2", d.unconfirmed)
	}
	// Of settlements that an earlier call of unknown outcome carried, only that call's outcome counts.
	o.requeue(d, 2, scripts.Unknown, noon)
	d = o.drain(3, noon)
	o.requeue(d, 3, scripts.NotRun, noon)
	if d = o.drain(4, noon); d.unconfirmed == nil || d.unconfirmed.seq != 2 {
		t.Errorf("got %+v, want the settlement of call 2", d.unconfirmed)
	}
}

// A report on a counter whose account is gone is left out.
func TestOutbox_EncodeLeavesOutWhatIsGone(t *testing.T) {
	t.Parallel()
	var o outbox
	o.add(noon, settlement("gone", 1))
	o.settle(noon, charge{counter: "gone too"}, 1)
	d := o.drain(1, noon)
	if got := d.encode(topologyOf(hourly()), noon, time.Minute); len(got) != 1 || got[0].Kind != scripts.UnlessRan {
		t.Errorf("got %+v, want no report on a counter", got)
	}
}
