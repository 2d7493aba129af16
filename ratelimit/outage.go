package ratelimit

import (
	"context"
	"time"

	"github.com/penstock/penstock/scripts"
)

// OutagePolicy is what a Limiter answers while Redis is unavailable. Names, meaning and default are those of package
// concurrency.
type OutagePolicy int

// Values of OutagePolicy.
const (
	// FailClosed returns the error. It is the default.
	FailClosed OutagePolicy = iota
	// FailOpen admits every call and keeps no account of it.
	FailOpen
	// LocalShare admits, in each process, the limit divided by the number of processes that share it. The number is the
	// last one that Redis counted. Usage before the outage counts. When Redis is back, each process reports its usage that
	// hasn't refilled. Reservations may be cancelled and settled before and after. A process that has never reached Redis
	// fails closed.
	LocalShare
)

// String returns the name of the policy.
func (p OutagePolicy) String() string {
	switch p {
	case FailOpen:
		return "fail open"
	case LocalShare:
		return "local share"
	default:
		return "fail closed"
	}
}

// withoutRedis answers a call by Config.Outage, in an ended batch of its own. cause is the error of the script call.
func (l *Limiter) withoutRedis(ctx context.Context, o op, items []item, latest bound, cause error) (ticket, error) {
	if h := l.cfg.Hooks.Degraded; h != nil {
		h(ctx, l.cfg.Outage, cause)
	}
	sh := items[0].e.shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	clients := l.presence.clients.Load()
	if l.cfg.Outage == FailClosed || l.cfg.Outage == LocalShare && clients == 0 {
		return ticket{}, cause
	}
	now := time.Since(l.start)
	b := &batch{shard: sh, ended: true, frozen: true, local: l.start.Add(now), given: make([]int64, len(items))}
	g := &group{batch: b, op: o, n: 1, items: append([]item(nil), items...), bounds: []bound{latest}}
	for i := range g.items {
		it := &g.items[i]
		it.key, it.interval = i, it.limit.seconds()
		if l.cfg.Outage == FailOpen {
			continue
		}
		out := sh.outage(it, clients, now)
		it.limit, it.interval = out.limit, out.limit.seconds()
		it.units = scripts.GCRAUnits(max(out.tat-now, 0).Seconds(), out.limit.seconds())
	}
	g.decide(latest.wait(now))
	g.outage = make([]outageCharge, len(g.items))
	if l.cfg.Outage == LocalShare {
		g.use(now)
	}
	return ticket{g: g}, nil
}

// outage returns the usage record of an item's limit for the current outage.
func (sh *shard) outage(it *item, clients int64, now time.Duration) *outageUsage {
	share := it.limit
	share.Burst = max(share.Burst/int(clients), 1)
	if share.Period > maxRefill/time.Duration(clients) {
		share.Period = maxRefill
	} else {
		share.Period *= time.Duration(clients)
	}
	e := it.e
	if e.outage == nil || e.outage.over {
		out := &outageUsage{tat: later(now, seconds(max(e.state.TAT-e.node().serverNow(), 0)))}
		if e.outage != nil {
			out.tat = max(out.tat, e.outage.tat) // the previous report may not have reached Redis yet
		}
		e.outage = out
		e.pendingAdjustments++ // keeps it from being evicted
		sh.inOutage = append(sh.inOutage, e)
	}
	e.outage.whole, e.outage.limit = it.limit, share
	return e.outage
}

// decide computes the result of the group's only call from the units of its items.
func (g *group) decide(wait time.Duration) {
	if g.op == opReserve {
		result := int64(1)
		ahead := make([]float64, len(g.items))
		g.short = true
		g.bookings = nil
		slot := 0.0
		for i := range g.items {
			it := &g.items[i]
			slot = max(slot, (it.units+float64(it.cost)-float64(it.limit.Burst))*it.limit.seconds())
		}
		if slot > wait.Seconds() {
			result = 0
		}
		g.book(ahead, make([]int64, len(g.items)), []int64{result})
		return
	}
	g.granted = 1
	if g.op == opAtMost {
		g.granted = g.items[0].cost
	}
	for i := range g.items {
		it := &g.items[i]
		room := float64(it.limit.Burst) - it.units
		switch {
		case g.op == opAtMost:
			g.granted = max(min(g.granted, int(room)), 0)
		case room < float64(it.cost) && it.cost > 0:
			g.granted = 0
		}
	}
}

// use records the units that the group's only call took.
func (g *group) use(now time.Duration) {
	for i := range g.items {
		it := &g.items[i]
		var taken float64
		switch g.op {
		case opAllow:
			taken = float64(g.granted * it.cost)
		case opAtMost:
			taken = float64(g.granted)
		case opReserve:
			if !g.bookings[0].booked {
				return
			}
			taken = float64(it.cost)
		}
		out := it.e.outage
		if g.op == opReserve { // the limits that don't delay the call are charged at its time, too
			out.tat = max(out.tat, later(now, seconds(g.bookings[0].slot)))
			out.given += seconds(g.bookings[0].lost[i])
		}
		out.charge(taken, now)
		g.outage[i] = outageCharge{out: out, after: out.tat, given: out.given}
	}
}
