package ratelimit

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

// Away is what a Limiter answers while Redis can't be asked.
type Away int

const (
	// FailClosed answers with the error. The default.
	FailClosed Away = iota
	// FailOpen admits every call. Redis isn't told of them afterwards.
	FailOpen
	// LocalShare admits, in each process, the limit divided by the number of processes that used the same Redis and
	// prefix before, as Redis had counted them; what was used then is kept in mind. When Redis is back, each process
	// tells it what was used and hasn't refilled. Reservations may be cancelled and settled before that and after. A
	// process that has never reached Redis fails closed.
	LocalShare
)

// String returns the policy's name.
func (a Away) String() string {
	switch a {
	case FailOpen:
		return "fail open"
	case LocalShare:
		return "local share"
	default:
		return "fail closed"
	}
}

// withoutRedis answers a call by the policy, as a batch of its own that has ended. cause is why Redis wasn't asked.
func (l *Limiter) withoutRedis(o op, items []item, until time.Duration, cause error) (ticket, error) {
	if h := l.cfg.Hooks.Degraded; h != nil {
		h(l.cfg.Away, cause)
	}
	ln := items[0].e.lane
	ln.mu.Lock()
	defer ln.mu.Unlock()
	clients := l.presence.clients.Load()
	if l.cfg.Away == FailClosed || l.cfg.Away == LocalShare && clients == 0 {
		return ticket{}, cause
	}
	now := time.Since(l.start)
	b := &batch{lane: ln, ended: true, frozen: true, local: l.start.Add(now), given: make([]int64, len(items))}
	g := &group{batch: b, op: o, n: 1, items: append([]item(nil), items...), until: []time.Duration{until}}
	for i := range g.items {
		it := &g.items[i]
		it.key, it.interval = i, it.limit.seconds()
		if l.cfg.Away == FailOpen {
			continue
		}
		out := ln.outage(it, clients, now)
		it.limit, it.interval = out.limit, out.limit.seconds()
		it.units = scripts.GCRAUnits(max(out.tat-now, 0).Seconds(), out.limit.seconds())
	}
	g.decide(until - now)
	g.away = make([]spot, len(g.items))
	if l.cfg.Away == LocalShare {
		g.use(now)
	}
	return ticket{g: g}, nil
}

// outage returns what is kept of a limit while Redis is away.
func (ln *lane) outage(it *item, clients int64, now time.Duration) *outage {
	share := it.limit
	share.Burst = max(share.Burst/int(clients), 1)
	if share.Period > longest/time.Duration(clients) {
		share.Period = longest
	} else {
		share.Period *= time.Duration(clients)
	}
	e := it.e
	if e.away == nil || e.away.over {
		out := &outage{tat: now + seconds(max(e.state.TAT-ln.serverNow(), 0))}
		if e.away != nil {
			out.tat = max(out.tat, e.away.tat) // Redis may not have learned of that yet
		}
		e.away = out
		e.loose++ // not to be swept out
		ln.away = append(ln.away, e)
	}
	e.away.whole, e.away.limit = it.limit, share
	return e.away
}

// decide answers the only call of the group from the units of its items.
func (g *group) decide(wait time.Duration) {
	if g.op == opReserve {
		result := int64(1)
		ahead := make([]float64, len(g.items))
		g.short = true
		g.places = nil
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

// use notes what the only call of the group took.
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
			if !g.places[0].booked {
				return
			}
			taken = float64(it.cost)
		}
		out := it.e.away
		if g.op == opReserve { // a limit that isn't the one that makes the call wait is charged later than it could be
			out.tat = max(out.tat, now+seconds(g.places[0].slot))
			out.given += seconds(g.places[0].lost[i])
		}
		out.charge(taken, now)
		g.away[i] = spot{out: out, after: out.tat, given: out.given}
	}
}
