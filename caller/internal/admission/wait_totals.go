package admission

import (
	"slices"
	"time"

	"github.com/penstock/penstock/scripts"
)

// Waits is for how long a call waited for each thing. What is left of the whole wait is the time for replies of Redis.
type Waits struct {
	Rate, Permit, Cooldown time.Duration
	Limit                  int // index of the limit that Rate was spent on last; NoLimit: none is known
}

// add adds what a call waited for further.
func (w *Waits) add(more Waits) {
	w.Rate += more.Rate
	w.Permit += more.Permit
	w.Cooldown += more.Cooldown
	if more.Limit != NoLimit {
		w.Limit = more.Limit
	}
}

// since returns the part of w that came after an earlier state.
func (w Waits) since(before Waits) Waits {
	w.Rate -= before.Rate
	w.Permit -= before.Permit
	w.Cooldown -= before.Cooldown
	if w.Rate == 0 {
		w.Limit = NoLimit
	}
	return w
}

// groupWaits adds up the time in which the calls of a model group wait for each thing. A call's own waits are the
// difference between its beginning and its end, so that they cost nothing in between.
type groupWaits struct {
	constraint int // what the first waiting call waits for since from
	from       time.Time
	total      Waits
}

// waitTotals are the waits of all model groups, by index.
type waitTotals []groupWaits

// of returns the total of a group up to now.
func (w *waitTotals) of(group int, now time.Time) Waits {
	for group >= len(*w) {
		*w = append(*w, groupWaits{constraint: scripts.ConstraintNone, total: Waits{Limit: NoLimit}})
	}
	g := &(*w)[group]
	g.count(now)
	return g.total
}

// by records what the calls of a group wait for from now on.
func (w *waitTotals) by(group, constraint int, now time.Time) {
	w.of(group, now)
	(*w)[group].constraint = constraint
}

// replied records what each group of a reply's demands waits for from now on: what delays its first waiting call.
func (w *waitTotals) replied(demands []scripts.PoolDemand, reply *scripts.PoolReply, now time.Time) {
	for i := range demands {
		w.by(demands[i].ModelGroup, scripts.ConstraintNone, now)
	}
	for i, d := range slices.Backward(demands) { // the first one is the last to count
		if reply.Admitted[i] == d.Count {
			continue
		}
		constraint := reply.Blocked[i]
		if constraint == scripts.ConstraintNone { // an earlier demand delays it
			constraint = reply.Constraint
		}
		w.by(d.ModelGroup, constraint, now)
	}
}

// failed records that every call waits for Redis from now on.
func (w *waitTotals) failed(now time.Time) {
	for group := range *w {
		w.by(group, scripts.ConstraintNone, now)
	}
}

// count adds the time up to now.
func (g *groupWaits) count(now time.Time) {
	d := max(0, now.Sub(g.from))
	switch {
	case g.constraint >= 0:
		g.total.Rate += d
		g.total.Limit = g.constraint
	case g.constraint == ConstraintPermits:
		g.total.Permit += d
	case g.constraint == ConstraintCooldown:
		g.total.Cooldown += d
	}
	if now.After(g.from) {
		g.from = now
	}
}
