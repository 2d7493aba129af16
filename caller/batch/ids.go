package batch

import "crypto/sha256"

// IDs is the set of ids that earlier runs have done and that this run has taken. It keeps the first 16 bytes of each id's
// SHA-256, about 40 bytes of memory an id: 40 MB for a million. Two of n different ids share a hash with a probability of
// n²/2¹²⁹: for a billion ids 1.5 × 10⁻²¹. It is not safe for concurrent use.
type IDs struct {
	taken map[[16]byte]bool // false: done by an earlier run
}

// State is the state of an id in IDs.
type State int

const (
	// Fresh: neither done nor taken.
	Fresh State = iota
	// Done by an earlier run.
	Done
	// Duplicate: taken by this run.
	Duplicate
)

// Done adds an id that an earlier run has done.
func (s *IDs) Done(id string) { s.set(id, false) }

// Take takes the id for this run, and returns its state before: only a Fresh id is to be done.
func (s *IDs) Take(id string) State {
	taken, known := s.taken[hash(id)]
	s.set(id, true)
	switch {
	case taken:
		return Duplicate
	case known:
		return Done
	default:
		return Fresh
	}
}

// Known reports whether an earlier run has done the id, or this run has taken it.
func (s *IDs) Known(id string) bool {
	_, known := s.taken[hash(id)]
	return known
}

// Len returns the number of ids.
func (s *IDs) Len() int { return len(s.taken) }

func (s *IDs) set(id string, taken bool) {
	if s.taken == nil {
		s.taken = make(map[[16]byte]bool)
	}
	s.taken[hash(id)] = taken
}

func hash(id string) (h [16]byte) {
	sum := sha256.Sum256([]byte(id))
	copy(h[:], sum[:])
	return h
}
