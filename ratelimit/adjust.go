package ratelimit

import (
	"slices"
	"time"

	"github.com/penstock/penstock/scripts"
)

// adjustKind is a kind of state change that no caller waits for.
type adjustKind byte

const (
	adjustGiveBack adjustKind = iota
	adjustDebit
	adjustObserve
	adjustSetBack
)

// adjustment is a state change that the next batch of its shard carries.
type adjustment struct {
	kind   adjustKind
	e      *entry
	key    int
	limit  Limit
	cost   int64
	after  scripts.GCRAState // adjustGiveBack: state after the charge; adjustSetBack: state before the step
	step   time.Duration     // adjustSetBack: how far the clock was set back
	charge *outageCharge     // of a call that was answered without Redis
	out    *outageUsage      // adjustDebit: the outage usage that it reports
	reset  time.Time         // adjustObserve: end of the quota's validity; zero: Remaining is the state now
}

func (a *adjustment) encode(call *scripts.GCRA) {
	limit := scripts.GCRALimit{Key: a.key, Interval: a.limit.seconds(), Burst: int64(a.limit.Burst), Cost: a.cost}
	switch a.kind {
	case adjustGiveBack:
		call.GiveBack(limit, a.after)
	case adjustDebit:
		call.Debit(limit)
	case adjustObserve:
		call.Observe(limit, a.cost, max(time.Until(a.reset), 0))
	case adjustSetBack:
		call.SetBack(a.key, a.step, a.after)
	}
}

const (
	// flushAfter is how long an adjustment waits for a batch.
	flushAfter = 5 * time.Millisecond
	// flushAgain is how long it waits after its batch did certainly not run.
	flushAgain = 200 * time.Millisecond
	// flushFor is how long Redis, while unavailable, is tried for the sake of adjustments alone. Later they wait for a
	// call that reaches Redis.
	flushFor = time.Minute
	// maxPendingAdjustments is how many adjustments a shard keeps while Redis is unavailable. The oldest are dropped.
	maxPendingAdjustments = 4096
)

// put queues adjustments for the next batch, or for a batch of their own if no call comes. The caller holds sh.mu.
func (sh *shard) put(adjustments ...adjustment) {
	for _, a := range adjustments {
		a.e.pendingAdjustments++
		a.e.refusal.Store(nil)
		sh.adjust = append(sh.adjust, a)
	}
	sh.dropOldest()
	sh.flushEnd = time.Since(sh.l.start) + flushFor
	sh.flushSoon(flushAfter)
}

// putBack queues adjustments again whose batch did certainly not run. The caller holds sh.mu.
func (sh *shard) putBack(adjustments []adjustment) {
	for i := range adjustments {
		a := &adjustments[i]
		a.e.pendingAdjustments++
		if a.out != nil {
			a.out.unsent(time.Since(sh.l.start))
		}
	}
	sh.adjust = append(slices.Clip(adjustments), sh.adjust...)
	sh.dropOldest()
	if len(sh.adjust) > 0 {
		sh.flushSoon(flushAgain)
	}
}

// dropOldest drops the adjustments in excess of maxPendingAdjustments.
func (sh *shard) dropOldest() {
	if n := len(sh.adjust) - maxPendingAdjustments; n > 0 {
		for _, a := range sh.adjust[:n] {
			a.e.pendingAdjustments--
		}
		sh.adjust = append([]adjustment(nil), sh.adjust[n:]...)
	}
}

// flushSoon schedules a batch for the adjustments in case no call comes.
func (sh *shard) flushSoon(d time.Duration) {
	if !sh.flushing {
		sh.flushing = true
		time.AfterFunc(d, sh.flush)
	}
}
