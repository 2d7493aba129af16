package batch

import "crypto/sha256"

// IDs knows which ids are done from earlier runs and which this run has taken. It keeps the first 16 bytes of each id's
// SHA-256, about 40 bytes of memory an id with the map's own: 40 MB for a million. Two of n different ids share a hash
// with a probability of n²/2¹²⁹: for a billion ids 1.5 × 10⁻²¹. It is not safe for concurrent use.
type IDs struct {
	taken map[[16]byte]bool // false: done by an earlier run
}

// State is what IDs knows of an id.
type State int

const (
	// Fresh: neither done nor taken.
	Fresh State = iota
	// Done by an earlier run.
	Done
	// Duplicate: this run has taken it already.
	Duplicate
)

// Done notes that an earlier run did the id.
func (s *IDs) Done(id string) { s.set(id, false) }

// Take takes the id for this run, and says what was known of it before: only one that is Fresh is to be done.
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

// Len is how many ids are known.
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
