package ratelimit

import (
	"context"
	"runtime"
	"time"

	"github.com/penstock/penstock/scripts"
)

// refund returns the adjustments that give back all that call i was charged; nil if it was charged nothing.
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
			if !g.bookings[rank].booked {
				return nil
			}
			p := &g.bookings[rank]
			units, given = p.units[j], counted(given, p.lost[j])
		}
		a := adjustment{
			kind: adjustGiveBack, e: it.e, limit: it.limit, cost: int64(cost),
			after: scripts.GCRAState{TAT: float64(b.at)/1e6 + units*it.interval, Given: given},
		}
		if g.outage != nil {
			a.charge = &g.outage[j]
		}
		adjustments = append(adjustments, a)
	}
	return adjustments
}

// giveBack queues adjustments in their shards.
func (l *Limiter) giveBack(adjustments []adjustment) {
	for _, a := range adjustments {
		for !a.e.shard.tryPut(a) {
			runtime.Gosched() // the entry was just evicted
			a.e = l.entry(a.e.key[len(l.cfg.Prefix):])
		}
	}
}

func (sh *shard) tryPut(a adjustment) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch {
	case a.e.evicted:
		return false
	case a.charge == nil:
		sh.put(a)
	case a.charge.out != nil: // FailOpen keeps no account
		sh.amend(a)
	}
	return true
}

// flush sends the adjustments that no batch has carried.
func (sh *shard) flush() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.flushing = false
	if len(sh.adjust) == 0 || sh.open != nil {
		return // the open batch will carry them
	}
	e := sh.nextAdjusted()
	if e == nil {
		return // the first call that reaches Redis will carry them
	}
	if e.node().circuit.refuse() != nil {
		sh.flushSoon(flushAgain)
		return
	}
	b := sh.newBatch(context.Background(), e, e.tag())
	b.endless = true
	if sh.inFlight >= sh.l.cfg.MaxInFlight {
		sh.open = b
		return
	}
	sh.launch(b)
}

// nextAdjusted returns the entry whose adjustments are to be sent next: one of a node that works, or of any node while
// Redis is tried for the sake of adjustments alone. It returns nil if there is none.
func (sh *shard) nextAdjusted() *entry {
	if !sh.l.tagged {
		if sh.adjust[0].e.node().circuit.open() && time.Since(sh.l.start) > sh.flushEnd {
			return nil
		}
		return sh.adjust[0].e
	}
	for i := range sh.adjust {
		if e := sh.adjust[i].e; !e.node().circuit.open() {
			return e
		}
	}
	if time.Since(sh.l.start) > sh.flushEnd {
		return nil
	}
	return sh.adjust[0].e
}

// maxAdjust is the largest number of adjustments in one script call.
const maxAdjust = 256

// takeAdjustments removes the adjustments that the batch is to carry. The caller holds sh.mu.
func (sh *shard) takeAdjustments(b *batch) []adjustment {
	most := maxAdjust
	if b.node.circuit.open() {
		// A failed call would lose them. A batch without calls carries one, as a probe.
		most = 1
		if b.calls > 0 {
			most = 0
		}
	}
	var taken, rest []adjustment
	for _, a := range sh.adjust {
		apart := b.calls > 0 && len(sh.faulty) > 0 && sh.isFaulty([]item{{e: a.e}})
		if len(taken) < most && a.e.tag() == b.tag && !apart {
			taken = append(taken, a)
			continue
		}
		rest = append(rest, a)
	}
	sh.adjust = rest
	if len(rest) > 0 {
		sh.flushSoon(flushAfter)
	}
	return taken
}
