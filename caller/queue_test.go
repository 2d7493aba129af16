package caller

import (
	"slices"
	"testing"
	"time"
)

// The order of service goes by priority, by age, and by attempt, and so does how far ahead each may be booked.
func TestTheQueuesOrder(t *testing.T) {
	t.Parallel()
	p, err := newPlan(Config{Name: "p", Keys: accountsNamed("k"), Tuning: Tuning{Aging: time.Minute, Horizon: 400 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	l := p.layOut(p.accounts, []family{{}}, noon)
	q := queue{aging: p.Tuning.Aging}
	names := map[*waiter]string{}
	now := time.Now()
	for _, w := range []struct {
		name     string
		priority Priority
		waited   time.Duration
		again    bool
	}{
		{"old bulk", PriorityLow, 130 * time.Second, false},
		{"aged bulk", PriorityLow, 70 * time.Second, false},
		{"bulk", PriorityLow, 50 * time.Second, false},
		{"aged normal", PriorityNormal, 80 * time.Second, false},
		{"normal", PriorityNormal, 20 * time.Second, false},
		{"normal again", PriorityNormal, 0, true},
		{"interactive", PriorityHigh, time.Second, false},
		{"interactive 2", PriorityHigh, 0, false},
	} {
		made := &waiter{order: order{priority: w.priority, again: w.again}, since: now.Add(-w.waited)}
		names[made] = w.name
		q.add(made)
	}
	var got []string
	ahead := map[string]time.Duration{}
	b := q.head(100, l, p.Tuning.Horizon)
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
		if ahead[name].Milliseconds() != want {
			t.Errorf("%s may be booked %v ahead, want %d ms", name, ahead[name], want)
		}
	}
}
