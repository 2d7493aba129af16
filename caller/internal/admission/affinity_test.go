package admission

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// Calls of one affinity go to one account from every process, while it has room; then to others, and back as soon as it
// has room again.
func TestAffinity_SameAccountFromEveryProcessWhileItHasRoom(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		limits := []Limit{bucket(60, time.Minute, 4)} // one a second
		a := visit(t, rdb, configOf(limits, "a", "b", "c", "d"))
		b := visit(t, rdb, configOf(limits, "d", "b", "c", "a"))
		talk := Request{Priority: normal, Affinity: "conversation 7"}
		home := a.account(noon, talk)
		for i, v := range []*visitor{b, a, b} {
			if got := v.account(noon, talk); got != home {
				t.Errorf("call %d: got account %q, want %q", i, got, home)
			}
		}
		// It has no room for more now.
		if got := a.account(noon, talk); got == home || got == "" {
			t.Errorf("without room: got account %q, want another than %q", got, home)
		}
		if got := b.account(noon.Add(time.Second), talk); got != home {
			t.Errorf("with room again: got account %q, want %q", got, home)
		}
	})
}

// A preferred account that cools down is passed over.
func TestAffinity_PassesOverACooldown(t *testing.T) {
	t.Parallel()
	v := visit(t, redistest.Client(t), configOf(nil, "a", "b", "c"))
	talk := Request{Priority: normal, Affinity: "x"}
	home := v.account(noon, talk)
	grants, _ := v.ask(noon, 1, talk, cooldown(home, noon.Add(time.Minute)))
	if len(grants) != 1 || grants[0].account == home {
		t.Errorf("during the cooldown of %s: got %v, want one grant of another account", home, grants)
	}
	if got := v.account(noon.Add(time.Minute), talk); got != home {
		t.Errorf("after the cooldown: got account %q, want %q", got, home)
	}
}

// A key that is added draws its part of the affinities and no other moves; they are spread evenly.
func TestAffinity_ANewKeyMovesOnlyItsPart(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "d", "e"}
	topologies := make([]*topology, 2)
	for i := range topologies {
		cfg := configOf(nil, names[:4+i]...)
		topologies[i] = newTopology(&cfg, mergeAccounts(nil, cfg.Accounts), []modelGroup{{}}, noon)
	}
	const n = 10_000
	moved, homes := 0, map[string]int{}
	for i := range n {
		affinity := fmt.Sprint("conversation ", i)
		before := topologies[0].targets[topologies[0].prefer(affinity, 0)].account.ID
		after := topologies[1].targets[topologies[1].prefer(affinity, 0)].account.ID
		homes[after]++
		if before == after {
			continue
		}
		moved++
		if after != "e" {
			t.Fatalf("%q: moved from %s to %s, want e or no move", affinity, before, after)
		}
	}
	for _, name := range names { // standard deviation: 40
		if homes[name] < n/5-200 || homes[name] > n/5+200 {
			t.Errorf("account %s: got %d of %d affinities, want a fifth", name, homes[name], n)
		}
	}
	if moved != homes["e"] {
		t.Errorf("got %d affinities moved, want the %d of the new account", moved, homes["e"])
	}
}
