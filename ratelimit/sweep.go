package ratelimit

import (
	"math"
	"runtime"
	"time"
	"weak"
)

// A Limiter has an entry for each limit that calls use, and at most maxEntries for others. An entry that has to make
// room leaves its state in stored, if its limit isn't at rest. Sweeps remove what is at rest, in steps between which
// calls take the lock.

const (
	// maxEntries is the number of entries above which unused ones are evicted.
	maxEntries = 4096
	// evictionsTried is how many entries are examined for eviction when one is added. It bounds the time that this takes.
	evictionsTried = 4
	// sweepEvery is the time between two sweeps.
	sweepEvery = 20 * time.Second
	// sweepStep is the number of entries that one step of a sweep visits.
	sweepStep = 256
)

// makeRoom evicts unused entries if there are too many. The caller holds l.mu.
func (l *Limiter) makeRoom() {
	if len(l.entries) < maxEntries {
		return
	}
	now := l.nodes.serverNow()
	var locked *shard
	for range evictionsTried {
		if l.hand >= len(l.entries) {
			l.hand = 0
		}
		e := l.entries[l.hand]
		locked = e.shard.lockAfter(locked)
		if e.used.Swap(false) || !e.unused(now) {
			l.hand++
			continue
		}
		l.evict(e, now) // the last entry takes its position
	}
	locked.mu.Unlock()
}

// lockAfter locks the shard and unlocks the one that was locked before; nil: none.
func (sh *shard) lockAfter(before *shard) *shard {
	if sh != before {
		if before != nil {
			before.mu.Unlock()
		}
		sh.mu.Lock()
	}
	return sh
}

// unused reports whether nothing but the state of the entry's limit is still needed. The caller holds the shard's lock.
func (e *entry) unused(now float64) bool {
	if e.uses > 0 || e.pendingAdjustments > 0 {
		return false
	}
	if e.outage != nil && (!e.outage.over || e.outage.phase != outageReported) {
		return false
	}
	if until, ok := e.shard.faulty[e]; ok && time.Now().Before(until) {
		return false
	}
	for _, h := range e.holes {
		if h.after.TAT > now && h.done < h.cost {
			return false
		}
	}
	return true
}

// evict removes an unused entry. The caller holds l.mu and the shard's lock.
func (l *Limiter) evict(e *entry, now float64) {
	e.evicted = true
	e.refusal.Store(nil)
	delete(e.shard.faulty, e)
	if e.state.TAT > now {
		l.stored.put(e.digest, storedState{state: e.state, least: e.offset.least, at: e.offset.at})
	} else {
		l.stored.remove(e.digest)
	}
	delete(l.byDigest, e.digest)
	l.front[e.digest[0]%frontSize].CompareAndSwap(e, nil)
	last := len(l.entries) - 1
	l.entries[e.position] = l.entries[last]
	l.entries[e.position].position = e.position
	l.entries[last] = nil
	l.entries = l.entries[:last]
}

// sweepSoon schedules a sweep. The timer doesn't keep the Limiter alive. The caller holds l.mu.
func (l *Limiter) sweepSoon() {
	if l.sweeping {
		return
	}
	l.sweeping = true
	limiter := weak.Make(l)
	time.AfterFunc(sweepEvery, func() {
		if l := limiter.Value(); l != nil {
			l.sweep()
		}
	})
}

// sweep removes what is at rest, and schedules the next sweep if something is left.
func (l *Limiter) sweep() {
	for s := (sweeper{l: l}); s.step(); {
		runtime.Gosched()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweeping = false
	if len(l.entries) > 0 || l.stored.n > 0 {
		l.sweepSoon()
	}
}

// sweeper is a sweep in progress.
type sweeper struct {
	l       *Limiter
	entries int // visited
	parts   int // of stored, visited
	visited int // entries or states that the last step visited
}

// step makes one step of the sweep. It returns false if the sweep is complete.
func (s *sweeper) step() bool {
	l := s.l
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.nodes.serverNow()
	if s.entries < len(l.entries) {
		s.visited = l.sweepEntries(&s.entries, now)
		return true
	}
	s.entries = math.MaxInt // entries that were added since are left for the next sweep
	if s.parts < len(l.stored.parts) {
		s.visited = l.stored.sweep(s.parts, now)
		s.parts++
		return true
	}
	return false
}

// sweepEntries evicts the unused entries at rest among those from position on, at most sweepStep. The caller holds l.mu.
func (l *Limiter) sweepEntries(position *int, now float64) (visited int) {
	var locked *shard
	for visited = 0; visited < sweepStep && *position < len(l.entries); visited++ {
		e := l.entries[*position]
		locked = e.shard.lockAfter(locked)
		if e.state.TAT > now || !e.unused(now) {
			*position++
			continue
		}
		l.evict(e, now) // the last entry takes its position
	}
	if locked != nil {
		locked.mu.Unlock()
	}
	return visited
}
