package ratelimit

import "time"

// Gathering returns the number of calls in the open batch of a key's shard.
func (l *Limiter) Gathering(key string) int {
	sh := l.entry(key).shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.open == nil || sh.open.led {
		return 0
	}
	return sh.open.calls
}

// Known returns the number of keys of which the Limiter holds something.
func (l *Limiter) Known() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.stored.n
	for d := range l.byDigest {
		if _, ok := l.stored.get(d); !ok {
			n++
		}
	}
	return n
}

// Pending returns the number of adjustments of a key that are not applied yet.
func (l *Limiter) Pending(key string) int {
	e := l.entry(key)
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	return e.pendingAdjustments
}

// Slot returns the time of the booking by Redis' clock, in seconds since 2017.
func (r *Reservation) Slot() float64 {
	g := r.t.g
	return float64(g.batch.at)/1e6 + g.bookings[g.rank(r.t.i)].slot
}

// Clients returns the number of processes that share the limits, as known here.
func (l *Limiter) Clients() int { return int(l.presence.clients.Load()) }

// Sweep makes a sweep. It returns the largest number of entries or states that were visited while the lock was held.
func (l *Limiter) Sweep() (mostVisited int) {
	for s := (sweeper{l: l}); s.step(); {
		mostVisited = max(mostVisited, s.visited)
	}
	return mostVisited
}

// EvictAll evicts all unused entries, so that their states are stored.
func (l *Limiter) EvictAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.nodes.serverNow()
	for i := 0; i < len(l.entries); {
		e := l.entries[i]
		e.shard.mu.Lock()
		if e.unused(now) {
			l.evict(e, now)
		} else {
			i++
		}
		e.shard.mu.Unlock()
	}
}

// Runners returns the number of idle runners.
func (l *Limiter) Runners() int {
	l.runners.mu.Lock()
	defer l.runners.mu.Unlock()
	return len(l.runners.idle)
}

// TimeSweep makes a sweep and returns the time of its longest step, during which the lock is held.
func (l *Limiter) TimeSweep() (longest time.Duration) {
	for s := (sweeper{l: l}); ; {
		begin := time.Now()
		if !s.step() {
			return longest
		}
		longest = max(longest, time.Since(begin))
	}
}
