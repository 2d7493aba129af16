package ratelimit

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

// Known returns the number of entries.
func (l *Limiter) Known() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
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

// SweepAt sets the number of entries that triggers a sweep.
func (l *Limiter) SweepAt(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweepAt = n
}

// Runners returns the number of idle runners.
func (l *Limiter) Runners() int {
	l.runners.mu.Lock()
	defer l.runners.mu.Unlock()
	return len(l.runners.idle)
}
