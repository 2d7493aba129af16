package caller

import (
	"net/http"
	"time"

	"github.com/penstock/penstock/scripts"
)

// observedPace is what a limit's pace is multiplied by when the provider says that more of it is used than the fleet
// can have used.
const observedPace = 0.95

// observe takes in what an answer's headers say is left of the limits.
func (c *Pool) observe(g *Grant, res *http.Response) {
	if c.plan.Profile.Quotas == nil {
		return
	}
	quotas := c.plan.Profile.Quotas(res)
	if len(quotas) == 0 {
		return
	}
	c.pool.observe(g, quotas)
	if hook := c.plan.Hooks.QuotaRead; hook != nil {
		hook(QuotaReport{Key: g.Key, Account: g.Account, Model: g.model, Quotas: quotas})
	}
}

// observe takes in what the provider says is left of its limits. It only ever slows the fleet down: what is left may
// have been told late, and may be less than it was when the next call comes, never more than the limit.
//
// Of a limit that is kept with the given slack, the fleet leaves slack/(per+slack) and the headroom unused. If less than half of that is
// left, somebody else uses the limit, too.
func (p *pool) observe(g *Grant, quotas []Quota) {
	var items []item
	for _, q := range quotas {
		if q.Metric == Requests {
			p.seed(g.lane.account, q.Remaining)
		}
		for i, limit := range g.lane.limits {
			l := &p.plan.Limits[limit]
			if l.Metric != q.Metric || l.Scope == PerPool || q.Period != 0 && q.Period != l.Period || q.Limit != 0 && q.Limit != l.Rate {
				continue
			}
			if r, ok := l.overused(q, p.plan.Tuning.ArrivalJitter); ok {
				items = append(items, item{counter: g.lane.counters[i], PoolReport: r})
			}
		}
	}
	if len(items) > 0 {
		p.mention(items)
	}
}

// overused returns what Redis should hear of a limit of which so much is left.
func (l *Limit) overused(q Quota, slack time.Duration) (scripts.PoolReport, bool) {
	if l.Algorithm == Daily {
		return scripts.PoolReport{Kind: scripts.UsedCounter, Units: l.Rate - q.Remaining}, q.Remaining < l.Rate
	}
	spare := float64(l.Rate) - float64(l.Usable())*l.Period.Seconds()/(l.Period+slack).Seconds()
	left := float64(q.Remaining)
	if left > spare/2 || left > spare-1 {
		return scripts.PoolReport{}, false
	}
	return scripts.PoolReport{
		Kind: scripts.SlowCounter, Factor: observedPace, For: recovery * l.Period, Quiet: max(l.Period/20, 50*time.Millisecond),
	}, true
}
