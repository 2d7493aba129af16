package caller

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/scripts"
)

func coolAccount(name string) scripts.PoolReport {
	return scripts.PoolReport{Kind: scripts.CoolBlock, Block: scripts.AccountBlock(name, ""), Reason: "test"}
}

// Calls of one affinity go to one account from every replica, while it has room; then to others, and back as soon as it
// has room again.
func TestAffinity(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		limit := Limit{Metric: Requests, Rate: 60, Period: time.Minute, Algorithm: Bucket, Burst: 4} // one a second
		a := visit(t, rdb, Config{Keys: accountsNamed("a", "b", "c", "d"), Limits: []Limit{limit}})
		b := visit(t, rdb, Config{Keys: accountsNamed("d", "b", "c", "a"), Limits: []Limit{limit}})
		talk := Options{Affinity: "conversation 7"}
		home := a.account(noon, talk)
		for i, v := range []*visitor{b, a, b} {
			if got := v.account(noon, talk); got != home {
				t.Errorf("call %d went to %q, others to %q", i, got, home)
			}
		}
		// It has no room for more now.
		if got := a.account(noon, talk); got == home || got == "" {
			t.Errorf("without room at %q the call went to %q", home, got)
		}
		if got := b.account(noon.Add(time.Second), talk); got != home {
			t.Errorf("with room again the call went to %q, want %q", got, home)
		}
	})
}

// A preferred account that cools down is passed over.
func TestAffinityToWhatIsBlocked(t *testing.T) {
	t.Parallel()
	v := visit(t, redistest.Client(t), Config{Keys: accountsNamed("a", "b", "c")})
	talk := Options{Affinity: "x"}
	home := v.account(noon, talk)
	grants, _ := v.ask(noon, 1, talk, nil, item{PoolReport: coolAccount(home), until: noon.Add(time.Minute)})
	if len(grants) != 1 || grants[0].account == home {
		t.Errorf("got %v while %s cools down", grants, home)
	}
	if got := v.account(noon.Add(time.Minute), talk); got != home {
		t.Errorf("afterwards %q, want %q", got, home)
	}
}

// A key that is added draws its part of the affinities and no other moves; they are spread evenly.
func TestAffinityIsStable(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "d", "e"}
	layouts := make([]*layout, 2)
	for i := range layouts {
		p, err := newPlan(Config{Name: "p", Keys: accountsNamed(names[:4+i]...)})
		if err != nil {
			t.Fatal(err)
		}
		layouts[i] = p.layOut(p.accounts, []family{{}}, noon)
	}
	const n = 10_000
	moved, homes := 0, map[string]int{}
	for i := range n {
		affinity := fmt.Sprint("conversation ", i)
		before := layouts[0].lanes[layouts[0].prefer(affinity, 0)].account.id
		after := layouts[1].lanes[layouts[1].prefer(affinity, 0)].account.id
		homes[after]++
		if before == after {
			continue
		}
		moved++
		if after != "e" {
			t.Fatalf("%q moved from %s to %s as e came", affinity, before, after)
		}
	}
	for _, name := range names { // standard deviation: 40
		if homes[name] < n/5-200 || homes[name] > n/5+200 {
			t.Errorf("%s has %d of %d affinities, want a fifth", name, homes[name], n)
		}
	}
	if moved != homes["e"] {
		t.Errorf("%d moved, the new one has %d", moved, homes["e"])
	}
}
