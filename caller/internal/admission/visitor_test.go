package admission

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/scripts"
)

// visitor is one process of a pool at times that the test sets. It makes one script call after the other, as the loop
// does, and sends nothing.
type visitor struct {
	t        *testing.T
	rdb      *redis.Client
	cfg      Config
	groups   modelGroups
	topology *topology
	seq      int64
}

// granted is an admitted call.
type granted struct {
	key, account string
	in           time.Duration // until its send time
	trial        bool
}

// visit joins a pool.
func visit(t *testing.T, rdb *redis.Client, cfg Config) *visitor {
	t.Helper()
	cfg.Session = t.Name() + strconv.FormatInt(time.Now().UnixNano(), 36)
	v := &visitor{t: t, rdb: rdb, cfg: cfg, groups: newModelGroups(cfg.Limits, nil)}
	v.topology = newTopology(&v.cfg, mergeAccounts(nil, cfg.Accounts), v.groups.list, noon)
	return v
}

// ask asks for n equal calls at a time, and carries reports. A request without units takes one of each metric.
func (v *visitor) ask(now time.Time, n int, r Request, reports ...report) ([]granted, *scripts.PoolReply) {
	v.t.Helper()
	w := &waiter{Request: r}
	if w.Units == nil {
		w.Units = slices.Repeat([]int64{1}, v.cfg.Metrics)
	}
	w.group, _ = v.groups.of(v.cfg.Limits, r.Model)
	v.topology = newTopology(&v.cfg, v.topology.accounts, v.groups.list, now)
	var b batch
	for range n {
		b.add(w, v.topology, bookingHorizon(r.Priority, v.cfg.Horizon))
	}
	d := delivery{reports: reports}
	v.seq++
	call := &scripts.PoolCall{
		Config: v.topology.config, Seq: v.seq, Now: scripts.Micros(now), Demands: b.demands,
		Reports: d.encode(v.topology, now, time.Minute),
	}
	if v.cfg.Concurrency > 0 {
		call.Held = make([]int, len(v.cfg.Accounts))
	}
	reply, err := scripts.Admit(v.t.Context(), v.rdb, v.cfg.Pool, call)
	if err != nil {
		v.t.Fatal(err)
	}
	var out []granted
	for _, g := range reply.Grants {
		t := v.topology.targets[g.Target]
		in := time.Duration(g.SendAt-scripts.Micros(now)) * time.Microsecond
		out = append(out, granted{key: t.keys[g.Key].ID, account: t.account.ID, in: in, trial: g.Trial})
	}
	return out, reply
}

// account asks for one call and returns the account that it gets; empty: none yet.
func (v *visitor) account(now time.Time, r Request) string {
	v.t.Helper()
	grants, _ := v.ask(now, 1, r)
	if len(grants) == 0 {
		return ""
	}
	return grants[0].account
}

// count asks for n calls and returns the number admitted.
func (v *visitor) count(now time.Time, n int, r Request) int {
	v.t.Helper()
	grants, _ := v.ask(now, n, r)
	return len(grants)
}

// anyCall is a request for a call of normal priority.
var anyCall = Request{Priority: normal}

// callOf returns a request for a call of normal priority.
func callOf(units ...int64) Request { return Request{Priority: normal, Units: units} }

// callFor returns a request for a call of normal priority for a model.
func callFor(model string) Request { return Request{Priority: normal, Model: model} }
