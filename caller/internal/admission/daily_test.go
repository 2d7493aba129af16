package admission

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/scripts"
)

// A daily count is that of all processes together, is full until the reset, and starts anew then.
func TestDaily_CountsForAllProcessesUntilTheReset(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		limit := scoped(daily(5, 8*time.Hour+30*time.Minute), PerPool)
		cfg := configOf([]Limit{limit}, "x", "y")
		a, b := visit(t, rdb, cfg), visit(t, rdb, cfg)
		for day := range 3 {
			now := noon.AddDate(0, 0, day)
			reset := limit.NextReset(now)
			if got := a.count(now, 2, anyCall) + b.count(now, 9, anyCall); got != 5 {
				t.Errorf("day %d: got %d calls, want 5", day, got)
			}
			last := reset.Add(-time.Millisecond)
			if got := a.count(last, 1, anyCall); got != 0 {
				t.Errorf("day %d, just before the reset: got %d calls, want 0", day, got)
			}
			_, reply := b.ask(last, 1, anyCall)
			if d := reply.Wake; d > time.Second || d <= 0 {
				t.Errorf("day %d, a millisecond before the reset: got a wait of %v, want more than 0, up to 1s", day, d)
			}
		}
		if got := b.count(limit.NextReset(noon.AddDate(0, 0, 2)), 9, anyCall); got != 5 {
			t.Errorf("at the very reset: got %d calls, want 5", got)
		}
	})
}

// A process whose clock is behind, and so reports a reset that has passed, neither brings an old count back nor starts
// one anew with every call.
func TestDaily_ALateClockStartsNothingAnew(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	limit := daily(3, 0)
	v := visit(t, rdb, configOf([]Limit{limit}, "x"))
	reset := limit.NextReset(noon)
	for name, asked := range map[string]int{"first": 0, "later": 2} {
		v.cfg.Pool = name
		if got := v.count(reset, asked, anyCall); got != asked {
			t.Fatalf("got %d calls, want %d", got, asked)
		}
		late := newTopology(&v.cfg, v.topology.accounts, v.groups.list, reset.Add(-time.Second))
		total := asked
		for range 4 {
			v.seq++
			reply, err := scripts.Admit(t.Context(), rdb, name, &scripts.PoolCall{
				Config: late.config, Seq: v.seq, Now: scripts.Micros(reset),
				Demands: []scripts.PoolDemand{{Count: 2, Prefer: -1, Cost: []int64{1}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			total += len(reply.Grants)
		}
		if total != 3 {
			t.Errorf("the late clock comes %s: got %d calls, want 3", name, total)
		}
	}
}

// What a day's calls really cost counts in that day: debt and refund change the count.
func TestDaily_Settles(t *testing.T) {
	t.Parallel()
	v := visit(t, redistest.Client(t), configOf([]Limit{daily(100, 0)}, "x"))
	counter := v.topology.counters[0].name
	if got := v.count(noon, 9, callOf(40)); got != 2 {
		t.Fatalf("got %d calls of 40 in 100, want 2", got)
	}
	if g, _ := v.ask(noon, 1, callOf(30), settlement(counter, -10)); len(g) != 1 {
		t.Errorf("a call of 30 after a refund of 10: got %d grants, want 1", len(g))
	}
	if g, _ := v.ask(noon, 1, callOf(10), settlement(counter, 50), settlement(counter, -45)); len(g) != 0 {
		t.Errorf("a call of 10 after a debt of 5: got %d grants, want 0", len(g))
	}
}

// A call that the rest of a day's count has no room for isn't booked for the next day, where it would keep a permit until
// then; smaller ones behind it get what is left.
func TestDaily_TheRestGoesToSmallerCalls(t *testing.T) {
	t.Parallel()
	v := visit(t, redistest.Client(t), configOf([]Limit{daily(100, 0)}, "x"))
	if got := v.count(noon, 1, callOf(70)); got != 1 {
		t.Fatalf("got %d calls of 70 in 100, want 1", got)
	}
	_, reply := v.ask(noon, 1, callOf(40))
	if d := reply.Wake; len(reply.Grants) != 0 || d < 12*time.Hour || d > 12*time.Hour+time.Second || reply.Constraint != 0 {
		t.Errorf("40 more: got %+v, want none before midnight", reply)
	}
	reply, err := scripts.Admit(t.Context(), v.rdb, "p", &scripts.PoolCall{
		Config: v.topology.config, Seq: v.seq + 1, Now: scripts.Micros(noon), Demands: []scripts.PoolDemand{
			{Count: 1, Prefer: -1, Cost: []int64{40}}, {Count: 4, Prefer: -1, Cost: []int64{10}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if reply.Admitted[0] != 0 || reply.Admitted[1] != 3 {
		t.Errorf("one call of 40 and four of 10 in the last 30: got %v admitted, want 0 and 3", reply.Admitted)
	}
}
