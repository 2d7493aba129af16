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
	q := queue{aging: time.Minute}
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
