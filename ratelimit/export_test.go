package ratelimit

// Gathering returns how many calls are in the batch that gathers for a key.
func (l *Limiter) Gathering(key string) int {
	sh := l.entry(key).shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.open == nil || sh.open.led {
		return 0
	}
	return sh.open.calls
}

// Known returns how many keys are remembered.
func (l *Limiter) Known() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

// Pending returns how many refunds and the like wait for a batch.
func (l *Limiter) Pending(key string) int {
	e := l.entry(key)
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	return e.pendingAdjustments
}

// Slot returns the time of the reserved place by Redis' clock, in seconds since 2017.
func (r *Reservation) Slot() float64 {
	g := r.t.g
	return float64(g.batch.at)/1e6 + g.bookings[g.rank(r.t.i)].slot
}

// Clients returns how many processes share the limits, as known here.
func (l *Limiter) Clients() int { return int(l.presence.clients.Load()) }

// SweepAt makes the Limiter forget limits at rest when it knows so many.
func (l *Limiter) SweepAt(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweepAt = n
}

// Runners returns how many goroutines wait for a batch to send.
func (l *Limiter) Runners() int {
	l.runners.mu.Lock()
	defer l.runners.mu.Unlock()
	return len(l.runners.idle)
}
