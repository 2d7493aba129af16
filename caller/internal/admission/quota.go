package admission

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

const (
	// quotaPace is the share of its pace at which a limit goes on after the provider reported less left than the pool
	// leaves unused.
	quotaPace = 0.95
	// recoveryPeriods is the number of a limit's periods in which its whole pace comes back.
	recoveryPeriods = 10
)

// concerns reports whether a quota is that of a limit. A limit of the pool is no account's.
func (q *Quota) concerns(l *Limit) bool {
	return l.Metric == q.Metric && l.Scope != PerPool && (q.Period == 0 || q.Period == l.Period) && (q.Limit == 0 || q.Limit == l.Rate)
}

// usedByOthers returns the report on a limit that other clients use according to a quota, and whether they do. The report
// only ever slows the pool down, because the quota may be late and what is left may be less by the next call.
//
// Of a limit with a period P and an arrival jitter J the pool leaves J/(P+J) and the reserved part unused. If less than
// half of that is left, another client also uses the limit.
func usedByOthers(l *Limit, q *Quota, jitter time.Duration) (scripts.PoolReport, bool) {
	if l.daily() {
		return scripts.PoolReport{Kind: scripts.UsedCounter, Units: l.Rate - q.Remaining}, q.Remaining < l.Rate
	}
	unused := float64(l.Rate) - float64(l.Usable)*l.Period.Seconds()/(l.Period+jitter).Seconds()
	left := float64(q.Remaining)
	if left > unused/2 || left > unused-1 {
		return scripts.PoolReport{}, false
	}
	return scripts.PoolReport{
		Kind: scripts.SlowCounter, Factor: quotaPace, For: recoveryPeriods * l.Period, Quiet: max(l.Period/20, 50*time.Millisecond),
	}, true
}

// slowDown returns the reports that let the account's limits of a target go on at a share of their pace. Other accounts
// use the limits of the pool, too, so those keep their pace. recovery is the time until the whole pace is back; 0: ten
// periods of each limit.
func slowDown(limits []Limit, t *target, pace float64, recovery time.Duration) []report {
	var reports []report
	for i, name := range t.counters {
		l := &limits[t.limits[i]]
		if l.Scope == PerPool {
			continue
		}
		r := scripts.PoolReport{Kind: scripts.SlowCounter, Factor: pace, For: recovery, Quiet: max(l.Period/4, time.Second)}
		if recovery == 0 {
			r.For = recoveryPeriods * l.Period
		}
		reports = append(reports, report{counter: name, PoolReport: r})
	}
	return reports
}
