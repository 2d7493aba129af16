package ratelimit

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

// applyReply computes the answers from the script's reply, which holds the states before the calls and the number of
// admitted calls per group. The script call was in flight between from and to. The caller holds sh.mu.
func (b *batch) applyReply(reply scripts.GCRAReply, from, to time.Time) {
	sh := b.shard
	b.setBack(reply, from.Sub(sh.l.start), to.Sub(sh.l.start))
	b.at = reply.Now()
	b.local, _ = b.node.clock.Local(b.at)
	ahead := b.aheadBuf[:0]
	b.given = b.givenBuf[:0]
	for i := range b.entries {
		ahead, b.given = append(ahead, reply.Ahead(i).Seconds()), append(b.given, reply.Given(i))
	}
	results := reply.Results()[len(b.adjust):]
	for _, g := range b.groups {
		if g.sent() > 0 {
			results = g.applyReply(ahead, b.given, results)
		}
	}
	now := float64(b.at) / 1e6
	for i, e := range b.entries {
		s := scripts.GCRAState{TAT: now + ahead[i], Given: b.given[i]}
		if e.state.TAT <= now || s.Newer(e.state) {
			e.state = s
		}
	}
	b.cacheRefusals(ahead, from)
	for _, g := range b.groups {
		for _, i := range g.leftAfter {
			sh.put(g.refund(i)...)
		}
	}
}

// applyReply takes the group's results from the front of results and returns the rest. It updates the states in ahead
// and given.
func (g *group) applyReply(ahead []float64, given, results []int64) []int64 {
	for i := range g.items {
		it := &g.items[i]
		it.units, it.given = scripts.GCRAUnits(ahead[it.key], it.interval), given[it.key]
	}
	if g.op == opReserve {
		return g.book(ahead, given, results)
	}
	g.granted = int(results[0])
	for i := range g.items {
		it := &g.items[i]
		taken := float64(g.granted)
		if g.op == opAllow {
			taken *= float64(it.cost)
		}
		if taken > 0 {
			ahead[it.key] = (it.units + taken) * it.interval
		}
	}
	return results[1:]
}

// book computes the bookings of the group's calls, by the same rule as the script.
func (g *group) book(ahead []float64, given, results []int64) []int64 {
	n, k := g.sent(), len(g.items)
	words := 1
	if g.short {
		words = (n + 31) / 32
	}
	units, lost := make([]float64, k), make([]float64, k)
	for j := range g.items {
		units[j] = g.items[j].units
	}
	after := make([]float64, 2*n*k)
	g.bookings = make([]booking, n)
	for r := range g.bookings {
		p := &g.bookings[r]
		p.booked = !g.short || results[r/32]>>(r%32)&1 == 1
		p.units, after = after[:k:k], after[k:]
		p.lost, after = after[:k:k], after[k:]
		g.step(p, units, lost)
	}
	for j := range g.items {
		it := &g.items[j]
		ahead[it.key] = units[j] * it.interval
		given[it.key] = counted(given[it.key], lost[j])
	}
	return results[words:]
}

// step books one call. units and lost are the states of the limits before it, and are updated.
func (g *group) step(p *booking, units, lost []float64) {
	for j := range g.items {
		it := &g.items[j]
		p.slot = max(p.slot, (units[j]+float64(it.cost)-float64(it.limit.Burst))*it.interval)
	}
	for j := range g.items {
		it := &g.items[j]
		if p.booked {
			if later := p.slot - (units[j]+float64(it.cost)-float64(it.limit.Burst))*it.interval; p.slot > 0 && it.cost > 0 {
				lost[j] += min(later, float64(it.limit.Burst)*it.interval)
			}
			units[j] = max(units[j], p.slot/it.interval) + float64(it.cost)
		}
		p.units[j], p.lost[j] = units[j], lost[j]
	}
}

// counted adds lost seconds to a total given back. It rounds down, because a larger total than the script's would look
// like a later state.
func counted(given int64, lost float64) int64 {
	if us := int64(lost*1e6) - 1; us > 0 {
		return (given + us) % scripts.GCRATurn
	}
	return given
}

// refused reports whether the group had a call that was refused.
func (g *group) refused() bool {
	switch g.op {
	case opAllow:
		return g.granted < g.sent()
	case opAtMost:
		return g.granted < g.sent()*g.items[0].cost
	default:
		return false
	}
}

// result sets the answer to call i of a group on a single limit.
func (g *group) result(i int, res *Result) {
	it := &g.items[0]
	res.Limit = it.limit
	interval, rank := it.interval, g.rank(i)
	if g.op == opAllow {
		if rank < g.granted {
			res.Allowed = it.cost
			res.fill(interval, it.units+float64((rank+1)*it.cost))
			return
		}
		res.refuse(interval, it.units+float64(g.granted*it.cost), float64(it.cost))
		return
	}
	before := min(g.granted, rank*it.cost)
	res.Allowed = min(it.cost, g.granted-before)
	units := it.units + float64(before+res.Allowed)
	if res.Allowed == 0 && units+1 > float64(it.limit.Burst) {
		res.refuse(interval, units, 1)
		return
	}
	res.fill(interval, units)
}
