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
	// FailOpen admits every call.
	FailOpen
	// LocalShare admits, in each process, the limit divided by the number of processes that used the same Redis and
	// prefix before, as Redis had counted them; what was used then is kept in mind. Each process tells Redis what it
	// used when Redis is back. A process that has never reached Redis fails closed.
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

// outage is what a process uses of a limit while Redis is away.
type outage struct {
	whole Limit         // as configured
	limit Limit         // this process's share
	tat   time.Duration // theoretical arrival time of the share, since the Limiter's start
	used  float64       // units used since the outage began
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
	if e.away == nil {
		e.away = &outage{tat: now + seconds(max(e.state.TAT-ln.serverNow(), 0))}
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
		out.tat = max(out.tat, now) + seconds(taken*it.limit.seconds())
		out.used += taken
	}
}

// reconcile tells Redis, which is back, what was used of each limit and hasn't refilled. The caller holds ln.mu.
func (ln *lane) reconcile() {
	now := time.Since(ln.l.start)
	for _, e := range ln.away {
		out := e.away
		e.away = nil
		e.loose--
		left := min(out.used, (out.tat-now).Seconds()/out.limit.seconds())
		if left >= 1 {
			ln.put(adjustment{kind: adjustDebit, e: e, limit: out.whole, cost: int64(left)})
		}
	}
	ln.away = nil
}
