package ratelimit

import "time"

// refusal is the cached state of a limit that refused a call. Until the limit has refilled or the entry is older than
// Config.RefusalTTL, calls that don't fit are refused without asking Redis. Charges by others only raise the state.
type refusal struct {
	ahead float64       // TAT minus Redis' time, in seconds
	sent  time.Duration // since the Limiter's start; Redis read its clock later
}

// cacheRefusals caches the states of the limits that refused calls of the batch. It skips limits whose state another
// adjustment may lower or has lowered since. The caller holds the shard's lock.
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

// refused returns the units by which the TAT of a cached limit is ahead, and whether cost certainly doesn't fit.
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
	units = max(x.ahead-elapsed.Seconds(), 0) / interval
	return units, (units+float64(cost)-float64(limit.Burst))*interval > 1e-6
}
