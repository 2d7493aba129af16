package caller

import (
	"cmp"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/scripts"
)

// noon is where tests that set the time begin.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// visitor is one replica of a pool at times that the test sets: it asks the script for one batch of calls after the
// other, as the conversation with Redis would, and sends none.
type visitor struct {
	t        *testing.T
	rdb      *redis.Client
	plan     *plan
	families families
	layout   *layout
	seq      int64
}

// granted is an admitted call.
type granted struct {
	key, account string
	in           time.Duration // until its slot
	trial        bool
}

// visit joins a pool.
func visit(t *testing.T, rdb *redis.Client, cfg Config) *visitor {
	t.Helper()
	cfg.Name = cmp.Or(cfg.Name, "p")
	p, err := newPlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{t: t, rdb: rdb, plan: p, families: families{models: map[string]int{}}}
	v.families.of(p, "")
	return v
}

// accountsNamed returns a key for each name, as an account of its own.
func accountsNamed(names ...string) (keys []Key) {
	for _, name := range names {
		keys = append(keys, Key{ID: name, Secret: NewSecret("secret of " + name)})
	}
	return keys
}

// ask asks for n equal calls at a time, and reports the items with that.
func (v *visitor) ask(now time.Time, n int, o Options, cost Cost, items ...item) ([]granted, *scripts.PoolReply) {
	v.t.Helper()
	price, err := v.plan.cost(cost, o.Model)
	if err != nil {
		v.t.Fatal(err)
	}
	w := &waiter{order: order{cost: price, model: o.Model, priority: o.Priority, affinity: o.Affinity}}
	w.family, _ = v.families.of(v.plan, o.Model)
	v.layout = v.plan.layOut(v.plan.accounts, v.families.list, now)
	var b batch
	for range n {
		b.add(w, v.layout, v.plan.Tuning.Horizon>>(PriorityHigh-o.Priority))
	}
	news := news{list: items}
	v.seq++
	reply, err := scripts.Admit(v.t.Context(), v.rdb, v.plan.Name, &scripts.PoolCall{
		Config: v.layout.shape, Seq: v.seq, Now: scripts.Micros(now), Demands: b.demands,
		Reports: news.reports(v.layout, now, time.Minute), Held: make([]int, v.permits()),
	})
	if err != nil {
		v.t.Fatal(err)
	}
	var out []granted
	for _, g := range reply.Grants {
		l := v.layout.lanes[g.Target]
		in := time.Duration(g.SendAt-scripts.Micros(now)) * time.Microsecond
		out = append(out, granted{key: l.keys[g.Key].ID, account: l.account.id, in: in, trial: g.Trial})
	}
	return out, reply
}

func (v *visitor) permits() int {
	if v.plan.Concurrency == 0 {
		return 0
	}
	return len(v.plan.accounts)
}

// account asks for one call and returns the account that it gets; empty: none yet.
func (v *visitor) account(now time.Time, o Options) string {
	v.t.Helper()
	grants, _ := v.ask(now, 1, o, nil)
	if len(grants) == 0 {
		return ""
	}
	return grants[0].account
}

// count asks for n calls and returns how many are admitted.
func (v *visitor) count(now time.Time, n int, o Options, cost Cost) int {
	v.t.Helper()
	grants, _ := v.ask(now, n, o, cost)
	return len(grants)
}
