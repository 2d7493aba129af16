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
	tried int               // how often it was sent, and certainly not run
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

const (
	// flushAfter is how long an adjustment waits for a batch to ride along with.
	flushAfter = 5 * time.Millisecond
	// flushAgain is how long it waits for the next one if its batch was certainly not run.
	flushAgain = 200 * time.Millisecond
	// flushTries is how often it is sent before it is dropped.
	flushTries = 8
)

// put leaves adjustments for the next batch, or for one of their own if none comes soon. The caller holds ln.mu.
func (ln *lane) put(adjustments ...adjustment) {
	for _, a := range adjustments {
		a.e.loose++
		a.e.exhausted.Store(nil)
		ln.adjust = append(ln.adjust, a)
	}
	ln.flushSoon(flushAfter)
}

// putBack takes adjustments back whose batch has certainly not been run.
func (ln *lane) putBack(adjustments []adjustment) {
	for _, a := range adjustments {
		if a.tried++; a.tried < flushTries {
			a.e.loose++
			ln.adjust = append(ln.adjust, a)
		}
	}
	if len(ln.adjust) > 0 {
		ln.flushSoon(flushAgain)
	}
}

// flushSoon sees to it that adjustments are sent even if no call comes.
func (ln *lane) flushSoon(d time.Duration) {
	if !ln.flushing {
		ln.flushing = true
		time.AfterFunc(d, ln.flush)
	}
}
