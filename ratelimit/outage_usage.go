package ratelimit

import (
	"math"
	"time"

	"github.com/penstock/penstock/scripts"
)

// outageUsage is the usage of a limit by this process during an outage of Redis, and the report of it afterwards. The
// shard's lock guards it.
type outageUsage struct {
	whole    Limit         // as configured
	limit    Limit         // this process's share
	tat      time.Duration // TAT of the share, since the Limiter's start
	given    time.Duration // total given back
	used     float64       // units used since the outage began
	over     bool          // Redis is available again
	phase    outagePhase
	reported float64           // units reported to Redis
	after    scripts.GCRAState // the state in Redis after the report
	debt     float64           // units used while the report was in flight
}

// outagePhase is the progress of the report.
type outagePhase byte

const (
	outageUnreported outagePhase = iota // not reported yet
	outageSent                          // the report is in flight
	outageReported
)

// outageCharge identifies the charge of one call: the state of the share after it.
type outageCharge struct {
	out   *outageUsage
	after time.Duration
	given time.Duration
}

// charge takes units of the share at the earliest time.
func (o *outageUsage) charge(units float64, now time.Duration) {
	o.tat = max(o.tat, now) + seconds(units*o.limit.seconds())
	o.used += units
}

// unrefilled returns the number of units that were used and haven't refilled.
func (o *outageUsage) unrefilled(now time.Duration) float64 {
	return max(min(o.used, (o.tat-now).Seconds()/o.limit.seconds()), 0)
}

// giveBack returns units of a charge: to the share, as far as the script's rule for refunds permits, or from the report.
// The result is the number of units to give back in Redis now.
func (o *outageUsage) giveBack(s *outageCharge, units float64, now time.Duration) float64 {
	o.used = max(o.used-units, 0)
	switch o.phase {
	case outageUnreported:
		interval := o.limit.seconds()
		left, back := s.after-now, o.given-s.given
		behind := o.tat - s.after + back // charged after it
		safe := min(seconds(units*interval), left-back, seconds(float64(o.limit.Burst)*interval)-behind)
		if safe > 0 {
			o.tat -= safe
			o.given += safe
		}
	case outageReported:
		return o.excess()
	}
	return 0
}

// excess returns the units reported in excess of the usage, and takes them off the report.
func (o *outageUsage) excess() float64 {
	n := max(math.Floor(o.reported-o.used+1e-6), 0)
	o.reported -= n
	return n
}

// owe adds units to the usage. The result is the number of units to charge in Redis now.
func (o *outageUsage) owe(units float64, now time.Duration) float64 {
	switch o.phase {
	case outageUnreported:
		o.charge(units, now)
	case outageSent:
		o.debt += units
	case outageReported:
		return units
	}
	return 0
}

// send returns the number of units to report, rounded up.
func (o *outageUsage) send(now time.Duration) int64 {
	o.phase = outageSent
	o.reported = math.Ceil(o.unrefilled(now) - 1e-6)
	return int64(o.reported)
}

// unsent undoes send after a script call that certainly did not run.
func (o *outageUsage) unsent(now time.Duration) {
	o.phase = outageUnreported
	o.charge(o.debt, now)
	o.debt = 0
}

// reconcile queues a report for each limit of the node used during the outage. The caller holds sh.mu.
func (sh *shard) reconcile(n *node) {
	var others []*entry
	for _, e := range sh.inOutage {
		if e.node() != n {
			others = append(others, e)
			continue
		}
		out := e.outage
		out.over = true
		e.pendingAdjustments--
		sh.put(adjustment{kind: adjustDebit, e: e, limit: out.whole, out: out})
	}
	sh.inOutage = others
}

// amend applies a refund or debit of a call that was answered without Redis. The caller holds sh.mu.
func (sh *shard) amend(a adjustment) {
	s, now := a.charge, time.Since(sh.l.start)
	if a.kind == adjustGiveBack {
		sh.correctReport(a.e, s.out, s.out.giveBack(s, float64(a.cost), now), 0)
		return
	}
	sh.correctReport(a.e, s.out, 0, s.out.owe(float64(a.cost), now))
}

// correctReport queues a refund or debit that corrects a report. The caller holds sh.mu.
func (sh *shard) correctReport(e *entry, out *outageUsage, back, debt float64) {
	if back >= 1 {
		sh.put(adjustment{kind: adjustGiveBack, e: e, limit: out.whole, cost: int64(back), after: out.after})
	}
	if debt >= 1 {
		sh.put(adjustment{kind: adjustDebit, e: e, limit: out.whole, cost: int64(debt)})
	}
}

// recordReport records the result of a report. after is the state in Redis then, zero if unknown. The caller holds sh.mu.
func (sh *shard) recordReport(e *entry, out *outageUsage, after scripts.GCRAState) {
	if after == (scripts.GCRAState{}) {
		out.reported = 0 // units that Redis may not have charged can't be given back
	}
	out.phase, out.after = outageReported, after
	debt := out.debt
	out.debt = 0
	sh.correctReport(e, out, out.excess(), debt)
}
