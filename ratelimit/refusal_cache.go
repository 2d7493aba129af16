package ratelimit

import "time"

// refusal is what is remembered of a limit that a call was refused on: until the limit has refilled, or the memory
// is stale, calls that don't fit need not ask Redis. Others' charges can only make it worse than it is remembered.
type refusal struct {
	ahead float64       // TAT minus Redis' time, in seconds
	sent  time.Duration // since the Limiter's start: Redis read its clock after that
}

// remember keeps the states of the limits that calls of the batch were refused on. Those that an adjustment under way
// may lower, or one that was not in the batch has lowered meanwhile, are left out. The caller holds the shard's lock.
func (b *batch) cacheRefusals(ahead []float64, sent time.Time) {
	l := b.shard.l
	if l.cfg.RefusalTTL < 0 {
		return
	}
	for _, a := range b.adjust {
		a.e.pendingAdjustments--
	}
	for _, g := range b.groups {
		if !g.refused() {
			continue
		}
		for i := range g.items {
			it, at := &g.items[i], sent.Sub(l.start)
			if it.e.pendingAdjustments == 0 && at >= it.e.lastLoweredAt {
				it.e.refusal.Store(&refusal{ahead: ahead[it.key], sent: at})
			}
		}
	}
	for _, a := range b.adjust {
		a.e.pendingAdjustments++
	}
}

// exhausted returns how far the TAT of a remembered limit is ahead, in units, if cost units certainly don't fit now.
func (l *Limiter) refused(e *entry, limit *Limit, cost int) (units float64, refused bool) {
	x := e.refusal.Load()
	if x == nil {
		return 0, false
	}
	elapsed := time.Since(l.start) - x.sent
	if elapsed > l.cfg.RefusalTTL {
		return 0, false
	}
	interval := limit.seconds()
	units = (x.ahead - elapsed.Seconds()) / interval
	return units, (units+float64(cost)-float64(limit.Burst))*interval > 1e-6
}
