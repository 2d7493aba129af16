package ratelimit

import (
	"context"
	"runtime"
	"time"

	"github.com/penstock/penstock/scripts"
)

// refund returns what gives back all that call i was charged; nil if it was charged nothing.
func (g *group) refund(i int) []adjustment {
	rank, b := g.rank(i), g.batch
	adjustments := make([]adjustment, 0, len(g.items))
	for j := range g.items {
		it := &g.items[j]
		cost := it.cost
		var units float64
		given := it.given
		switch g.op {
		case opAllow:
			if rank >= g.granted {
				return nil
			}
			units = it.units + float64((rank+1)*cost)
		case opAtMost:
			before := min(g.granted, rank*cost)
			cost = min(cost, g.granted-before)
			units = it.units + float64(before+cost)
		case opReserve:
			if !g.places[rank].booked {
				return nil
			}
			p := &g.places[rank]
			units, given = p.units[j], counted(given, p.lost[j])
		}
		a := adjustment{
			kind: adjustGiveBack, e: it.e, limit: it.limit, cost: int64(cost),
			after: scripts.GCRAState{TAT: float64(b.at)/1e6 + units*it.interval, Given: given},
		}
		if g.away != nil {
			a.spot = &g.away[j]
		}
		adjustments = append(adjustments, a)
	}
	return adjustments
}

// giveBack leaves adjustments for the next batch of their lanes.
func (l *Limiter) giveBack(adjustments []adjustment) {
	for _, a := range adjustments {
		for !a.e.lane.tryPut(a) {
			runtime.Gosched() // the entry was just swept out
			a.e = l.entry(a.e.key[len(l.cfg.Prefix):])
		}
	}
}

func (ln *lane) tryPut(a adjustment) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	switch {
	case a.e.dead:
		return false
	case a.spot == nil:
		ln.put(a)
	case a.spot.out != nil: // FailOpen keeps no account
		ln.amend(a)
	}
	return true
}

// flush sends the adjustments that no batch has taken along.
func (ln *lane) flush() {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.flushing = false
	if len(ln.adjust) == 0 || ln.open != nil {
		return // an open batch takes them
	}
	if ln.circuit.open() && time.Since(ln.l.start) > ln.flushEnd {
		return // the first call that reaches Redis again takes them
	}
	if ln.circuit.refuse() != nil {
		ln.flushSoon(flushAgain)
		return
	}
	b := ln.newBatch(context.Background())
	b.endless = true
	if ln.inFlight >= ln.l.cfg.MaxInFlight {
		ln.open = b
		return
	}
	ln.launch(b)
}

// maxAdjust is how many adjustments one script call takes along.
const maxAdjust = 256

// takeAdjustments takes what a batch takes along; the rest is for the next. The caller holds ln.mu.
func (ln *lane) takeAdjustments(calls int) []adjustment {
	n := min(len(ln.adjust), maxAdjust)
	if ln.circuit.open() {
		// They would be lost if this one isn't answered either. Without a call, somebody must try.
		n = min(n, 1)
		if calls > 0 {
			n = 0
		}
	}
	taken := ln.adjust[:n:n]
	ln.adjust = append([]adjustment(nil), ln.adjust[n:]...)
	if len(ln.adjust) > 0 {
		ln.flushSoon(flushAfter)
	}
	return taken
}
