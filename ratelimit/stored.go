package ratelimit

import (
	"maps"
	"time"

	"github.com/penstock/penstock/scripts"
)

// storedState is what a process keeps of a limit that no call uses and that isn't at rest.
type storedState struct {
	state scripts.GCRAState
	least time.Duration // as in offset
	at    time.Duration
}

func (s *storedState) offset() offset { return offset{least: s.least, at: s.at, known: true} }

// storedStates holds the states of limits by the digests of their keys. It has no pointers for the garbage collector to
// follow, and no keys: it takes 60 to 120 bytes per limit, however long the keys are. The Limiter's lock guards it.
type storedStates struct {
	parts []storedPart // storedParts, by digest; nil before the first state
	n     int          // number of states
}

// storedPart is what one step of a sweep visits.
type storedPart struct {
	states map[digest]storedState
	peak   int // largest number of states since the map was made; a map never shrinks
}

// storedParts is the number of parts. With ten million limits a part has 2,500 states, which a sweep visits in about
// 0.1 ms.
const storedParts = 4096

func (s *storedStates) get(d digest) (storedState, bool) {
	if s.n == 0 {
		return storedState{}, false
	}
	found, ok := s.parts[d[1]%storedParts].states[d]
	return found, ok
}

func (s *storedStates) put(d digest, state storedState) {
	if s.parts == nil {
		s.parts = make([]storedPart, storedParts)
	}
	p := &s.parts[d[1]%storedParts]
	if p.states == nil {
		p.states = map[digest]storedState{}
	}
	before := len(p.states)
	p.states[d] = state
	s.n += len(p.states) - before
	p.peak = max(p.peak, len(p.states))
}

func (s *storedStates) remove(d digest) {
	if s.n == 0 {
		return
	}
	p := &s.parts[d[1]%storedParts]
	before := len(p.states)
	delete(p.states, d)
	s.n += len(p.states) - before
}

// sweep removes the states at rest from part i, and returns the number of states that it visited. now is the earliest
// time that Redis' clock can show.
func (s *storedStates) sweep(i int, now float64) (visited int) {
	p := &s.parts[i]
	visited = len(p.states)
	for d, state := range p.states {
		if state.state.TAT <= now {
			delete(p.states, d)
		}
	}
	s.n += len(p.states) - visited
	if len(p.states) == 0 {
		*p = storedPart{}
	} else if len(p.states) < p.peak/4 {
		kept := make(map[digest]storedState, len(p.states))
		maps.Copy(kept, p.states)
		*p = storedPart{states: kept, peak: len(kept)}
	}
	return visited
}
