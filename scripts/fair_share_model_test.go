package scripts

import (
	"cmp"
	"slices"
)

// The model of fair_share.lua in plain Go: the same answers by a different arrangement.

const (
	modelTurn  = 500 // ms
	modelQuick = 2
)

// sharer is one session as the fair-share function sees it.
type sharer struct {
	alloc, need, turn int64
	want              [3]int64

	place    int // in the order of the turns
	share    int64
	setAside int // position, from 1, among those for whom free units are set aside; 0: not among them
}

// fairShares fills in the shares and reports whether the sessions want more than the limit together. They are in the
// order of their turns.
func fairShares(limit int64, sessions []*sharer, now int64) bool {
	left := limit
	for i, s := range sessions {
		s.place, s.share, s.setAside = i, 0, 0
		defer func(want [3]int64) { s.want = want }(s.want)
	}
	for level := range 3 {
		var total int64
		for _, s := range sessions {
			total += s.want[level]
		}
		if total > left {
			shareLevel(left, sessions, level, now)
			return true
		}
		for _, s := range sessions {
			s.share += s.want[level]
		}
		left -= total
	}
	return false
}

func shareLevel(left int64, sessions []*sharer, level int, now int64) {
	open := make([]*sharer, 0, len(sessions))
	for _, s := range sessions {
		if s.want[level] > 0 {
			open = append(open, s)
		}
	}
	left = shareLarge(left, open, level, now)
	for {
		part := left / int64(len(open))
		rest := open[:0:0]
		for _, s := range open {
			if s.want[level] <= part {
				s.share += s.want[level]
				left -= s.want[level]
			} else {
				rest = append(rest, s)
			}
		}
		done := len(rest) == len(open)
		open = rest
		if done {
			break
		}
	}
	part := left / int64(len(open))
	order := slices.Clone(open)
	slices.SortFunc(order, func(a, b *sharer) int {
		ac, ar := a.rank(part, now)
		bc, br := b.rank(part, now)
		return cmp.Or(cmp.Compare(ac, bc), cmp.Compare(ar, br))
	})
	got := make([]int64, len(order))
	parked := make([]bool, len(order))
	for k, s := range order {
		n := int64(len(order) - k)
		give := min(s.want[level], (left+n-1)/n)
		if lack := s.need - s.share; lack > give {
			give = lack
			if lack > left || lack > s.want[level] {
				give, parked[k] = 0, true
			}
		}
		got[k] = give
		left -= give
	}
	for k, s := range order {
		if !parked[k] {
			more := min(s.want[level]-got[k], left)
			if left > 0 {
				got[k] += more
				left -= more
			}
		}
		s.share += got[k]
	}
}

// shareLarge sets setAside what large requests need whose turn it is.
func shareLarge(left int64, open []*sharer, level int, now int64) int64 {
	if !slices.ContainsFunc(open, func(s *sharer) bool { return s.need > 1 }) {
		return left
	}
	part := left / int64(len(open))
	due := slices.DeleteFunc(slices.Clone(open), func(s *sharer) bool {
		return s.alloc >= s.need || now-s.turn < modelQuick
	})
	if !slices.ContainsFunc(due, func(s *sharer) bool { return s.need-s.share > part }) {
		return left
	}
	setAside := 0
	for _, s := range due {
		if lack := s.need - s.share; lack > 0 && lack <= left && lack <= s.want[level] {
			s.share += lack
			s.want[level] -= lack
			left -= lack
			setAside++
			s.setAside = setAside
		}
	}
	return left
}

// owed is how many free units s must leave for others.
func (s *sharer) owed(sessions []*sharer) (units int64) {
	for _, o := range sessions {
		if o.setAside > 0 && (s.setAside == 0 || o.setAside < s.setAside) {
			units += max(0, o.share-o.alloc)
		}
	}
	return units
}

// rank says where the session stands when what doesn't divide evenly is offered; lower comes first.
func (s *sharer) rank(part, now int64) (class, rank int) {
	even, waited := s.share+part, now-s.turn
	switch {
	case s.alloc > even:
		return 1, -s.place
	case waited >= modelTurn || (waited >= modelQuick && s.need > even):
		return 0, s.place
	default:
		return 2, s.place
	}
}
