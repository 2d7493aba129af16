package ratelimit

import (
	"math"
	"time"

	"github.com/penstock/penstock/scripts"
)

// outage is what a process uses of a limit while Redis is away, and what it tells Redis of that afterwards. The shard's
// lock guards it.
type outageUsage struct {
	whole    Limit         // as configured
	limit    Limit         // this process's share
	tat      time.Duration // theoretical arrival time of the share, since the Limiter's start
	given    time.Duration // how much of it was ever given back
	used     float64       // units used since the outage began
	over     bool          // Redis is back
	phase    outagePhase
	reported float64           // units that Redis was told of
	after    scripts.GCRAState // the state that Redis had then
	debt     float64           // units to be told of besides
}

// outagePhase is how far an outage has come.
type outagePhase byte

const (
	outageLasts outagePhase = iota // or Redis is back and will be told with the next batch
	outageSent                     // Redis is being told
	outageReported
)

// charge is where a call stood in an outage: the share's state after its charge.
type outageCharge struct {
	out   *outageUsage
	after time.Duration
	given time.Duration
}

// charge takes units of the share at its earliest time.
func (o *outageUsage) charge(units float64, now time.Duration) {
	o.tat = max(o.tat, now) + seconds(units*o.limit.seconds())
	o.used += units
}

// left is how many units were used and haven't refilled.
func (o *outageUsage) unrefilled(now time.Duration) float64 {
	return max(min(o.used, (o.tat-now).Seconds()/o.limit.seconds()), 0)
}

// giveBack takes units of a charge back: at once from the share, as far as that is safe (by the rule of the script), or
// from what Redis was told. It returns how many Redis is to be given back now.
func (o *outageUsage) giveBack(s *outageCharge, units float64, now time.Duration) float64 {
	o.used = max(o.used-units, 0)
	switch o.phase {
	case outageLasts:
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

// excess returns by how many units Redis was told too much, and takes them as given back.
func (o *outageUsage) excess() float64 {
	n := max(math.Floor(o.reported-o.used+1e-6), 0)
	o.reported -= n
	return n
}

// owe adds units to what was used. It returns how many Redis is to be charged now.
func (o *outageUsage) owe(units float64, now time.Duration) float64 {
	switch o.phase {
	case outageLasts:
		o.charge(units, now)
	case outageSent:
		o.debt += units
	case outageReported:
		return units
	}
	return 0
}

// send returns how many units Redis is to be told of: whole ones, rather one more.
func (o *outageUsage) send(now time.Duration) int64 {
	o.phase = outageSent
	o.reported = math.Ceil(o.unrefilled(now) - 1e-6)
	return int64(o.reported)
}

// unsent takes back a send that certainly didn't reach Redis.
func (o *outageUsage) unsent(now time.Duration) {
	o.phase = outageLasts
	o.charge(o.debt, now)
	o.debt = 0
}

// reconcile makes Redis, which is back, learn what was used of each limit and hasn't refilled. The caller holds sh.mu.
func (sh *shard) reconcile() {
	for _, e := range sh.inOutage {
		out := e.outage
		out.over = true
		e.pendingAdjustments--
		sh.put(adjustment{kind: adjustDebit, e: e, limit: out.whole, out: out})
	}
	sh.inOutage = nil
}

// amend takes in what a call that was answered without Redis cost less or more than it was charged. The caller holds
// sh.mu.
func (sh *shard) amend(a adjustment) {
	s, now := a.charge, time.Since(sh.l.start)
	if a.kind == adjustGiveBack {
		sh.correctReport(a.e, s.out, s.out.giveBack(s, float64(a.cost), now), 0)
		return
	}
	sh.correctReport(a.e, s.out, 0, s.out.owe(float64(a.cost), now))
}

// amended tells Redis what it was told too much, and too little. The caller holds sh.mu.
func (sh *shard) correctReport(e *entry, out *outageUsage, back, debt float64) {
	if back >= 1 {
		sh.put(adjustment{kind: adjustGiveBack, e: e, limit: out.whole, cost: int64(back), after: out.after})
	}
	if debt >= 1 {
		sh.put(adjustment{kind: adjustDebit, e: e, limit: out.whole, cost: int64(debt)})
	}
}

// told notes how the batch that told Redis of an outage has ended: after is the state then, zero if it isn't known. The
// caller holds sh.mu.
func (sh *shard) recordReport(e *entry, out *outageUsage, after scripts.GCRAState) {
	if after == (scripts.GCRAState{}) {
		out.reported = 0 // what Redis may not know can't be given back
	}
	out.phase, out.after = outageReported, after
	debt := out.debt
	out.debt = 0
	sh.correctReport(e, out, out.excess(), debt)
}
