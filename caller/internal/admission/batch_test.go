package admission

import (
	"slices"
	"testing"
	"time"
)

// The order of service goes by priority, by age, and by attempt, and so does how far ahead each may be booked.
func TestBatch_OrderAndHorizonGoByAgedPriority(t *testing.T) {
	t.Parallel()
	cfg := configOf(nil, "k")
	topo := newTopology(&cfg, mergeAccounts(nil, cfg.Accounts), []modelGroup{{}}, noon)
	q := queue{aging: time.Minute, lanes: make([]lane, 1)}
	names := map[*waiter]string{}
	for _, w := range []struct {
		name     string
		priority int
		waited   time.Duration
		retry    bool
	}{
		{"old bulk", low, 130 * time.Second, false},
		{"aged bulk", low, 70 * time.Second, false},
		{"bulk", low, 50 * time.Second, false},
		{"aged normal", normal, 80 * time.Second, false},
		{"normal", normal, 20 * time.Second, false},
		{"normal again", normal, 0, true},
		{"interactive", high, time.Second, false},
		{"interactive 2", high, 0, false},
	} {
		its := &waiter{Request: Request{Priority: w.priority, Retry: w.retry}, since: noon.Add(-w.waited)}
		names[its] = w.name
		q.add(its)
	}
	var got []string
	ahead := map[string]time.Duration{}
	b := q.head(100, topo, 400*time.Millisecond, noon)
	rest := b.waiters
	for _, d := range b.demands {
		for _, w := range rest[:d.Count] {
			got = append(got, names[w])
			ahead[names[w]] = d.Ahead
		}
		rest = rest[d.Count:]
	}
	// A minute of waiting is worth a priority. A call that comes again is the first of its own.
	want := []string{"old bulk", "interactive", "interactive 2", "aged bulk", "normal again", "aged normal", "normal", "bulk"}
	if !slices.Equal(got, want) {
		t.Errorf("order\n got %q\nwant %q", got, want)
	}
	for name, want := range map[string]int64{ // milliseconds
		"interactive": 400, "old bulk": 400, "aged normal": 400, "aged bulk": 200, "normal": 200, "bulk": 100,
	} {
		if got := ahead[name].Milliseconds(); got != want {
			t.Errorf("%s: got a horizon of %d ms, want %d", name, got, want)
		}
	}
}

// Neighbours whose requests are the same are one demand; any difference makes another.
func TestBatch_EqualNeighboursAreOneDemand(t *testing.T) {
	t.Parallel()
	topo := topologyOf(few(5))
	var b batch
	for _, w := range []*waiter{
		waiterOf(normal, 0, 1), waiterOf(normal, time.Second, 1), waiterOf(normal, 0, 2), waiterOf(normal, 0, 1),
		{Request: Request{Units: []int64{1}, Affinity: "a"}}, {Request: Request{Units: []int64{1}, Exclude: []string{"k"}}},
	} {
		b.add(w, topo, time.Second)
	}
	b.add(waiterOf(normal, 0, 1), topo, time.Minute)
	var counts []int
	for _, d := range b.demands {
		counts = append(counts, d.Count)
	}
	if want := []int{2, 1, 1, 1, 1, 1}; !slices.Equal(counts, want) || len(b.waiters) != 7 {
		t.Errorf("got demands of %v for %d waiters, want %v for 7", counts, len(b.waiters), want)
	}
	if d := b.demands[3]; d.Prefer != 0 {
		t.Errorf("with an affinity: got target %d preferred, want 0", d.Prefer)
	}
	if d := b.demands[4]; d.Prefer != -1 || !slices.Equal(d.Exclude, []int{0}) {
		t.Errorf("with an excluded account: got %+v, want target 0 excluded", d)
	}
}

// A batch has no more waiters than asked for, and refers to them until its call has ended.
func TestBatch_RefersToItsWaitersUntilTheCallEnds(t *testing.T) {
	t.Parallel()
	first, second := waiterOf(high, 0, 1), waiterOf(normal, 0, 1)
	b := queueOf(second, first).head(1, topologyOf(few(5)), time.Second, noon)
	if len(b.waiters) != 1 || b.waiters[0] != first || !first.inCall || second.inCall {
		t.Fatalf("got %d waiters, in the call: %v, %v, want the first alone", len(b.waiters), first.inCall, second.inCall)
	}
	if b.callEnded(); first.inCall {
		t.Error("after the call: got in the call, want not")
	}
}
