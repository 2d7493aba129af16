package ratelimit

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

// adjustKind is a change of a limit's state that nobody waits for an answer to.
type adjustKind byte

const (
	adjustGiveBack adjustKind = iota
	adjustDebit
	adjustObserve
)

// adjustment rides along with the next batch of its lane.
type adjustment struct {
	kind  adjustKind
	e     *entry
	key   int
	limit Limit
	cost  int64
	after scripts.GCRAState // adjustGiveBack: the state after the charge
	reset time.Time         // adjustObserve: until when the report holds; zero: it only says what is there now
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
	}
}

// flushAfter is how long an adjustment waits for a batch to ride along with.
const flushAfter = 5 * time.Millisecond

// put leaves adjustments for the next batch, or for one of their own if none comes soon. The caller holds ln.mu.
func (ln *lane) put(adjustments ...adjustment) {
	for _, a := range adjustments {
		a.e.loose++
		a.e.exhausted.Store(nil)
		ln.adjust = append(ln.adjust, a)
	}
	if !ln.flushing {
		ln.flushing = true
		time.AfterFunc(flushAfter, ln.flush)
	}
}
