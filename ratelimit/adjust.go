package ratelimit

import (
	"slices"
	"time"

	"github.com/penstock/penstock/scripts"
)

// adjustKind is a change of a limit's state that nobody waits for an answer to.
type adjustKind byte

const (
	adjustGiveBack adjustKind = iota
	adjustDebit
	adjustObserve
	adjustSetBack
)

// adjustment rides along with the next batch of its shard.
type adjustment struct {
	kind   adjustKind
	e      *entry
	key    int
	limit  Limit
	cost   int64
	after  scripts.GCRAState // adjustGiveBack: the state after the charge; adjustSetBack: before the clock was set back
	step   time.Duration     // adjustSetBack: by so much
	charge *outageCharge     // of a call that was answered without Redis
	out    *outageUsage      // adjustDebit: that Redis is told of
	reset  time.Time         // adjustObserve: until when the report holds; zero: it only says what is there now
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
	// flushAfter is how long an adjustment waits for a batch to ride along with.
	flushAfter = 5 * time.Millisecond
	// flushAgain is how long it waits for the next one if its batch was certainly not run.
	flushAgain = 200 * time.Millisecond
	// flushFor is for how long Redis, if it is away, is tried for the sake of adjustments alone. Then they wait for a
	// call that reaches it.
	flushFor = time.Minute
	// maxPendingAdjustments is how many adjustments a shard keeps for a Redis that is away; older ones are dropped.
	maxPendingAdjustments = 4096
)

// put leaves adjustments for the next batch, or for one of their own if none comes soon. The caller holds sh.mu.
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

// putBack takes adjustments back whose batch has certainly not been run. The caller holds sh.mu.
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

// bound drops what is more than a shard keeps.
func (sh *shard) dropOldest() {
	if n := len(sh.adjust) - maxPendingAdjustments; n > 0 {
		for _, a := range sh.adjust[:n] {
			a.e.pendingAdjustments--
		}
		sh.adjust = append([]adjustment(nil), sh.adjust[n:]...)
	}
}

// flushSoon sees to it that adjustments are sent even if no call comes.
func (sh *shard) flushSoon(d time.Duration) {
	if !sh.flushing {
		sh.flushing = true
		time.AfterFunc(d, sh.flush)
	}
}
