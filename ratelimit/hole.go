package ratelimit

import (
	"cmp"
	"math"
	"slices"

	"github.com/penstock/penstock/scripts"
)

// hole is the refund of a booking. What can't be given back because of later bookings stays, until the later ones are
// given back, too. The shard's lock guards it.
type hole struct {
	after scripts.GCRAState // the limit after the booking
	limit Limit
	cost  float64 // in seconds
	done  float64 // seconds given back
	fresh bool    // not sent since the last change
}

// end is the booking's end on an axis that refunds don't move: the TAT plus all that was ever given back.
func (h *hole) end() float64 { return h.after.TAT + float64(h.after.Given)/1e6 }

// maxHoles is how many holes an entry keeps. The earliest are dropped.
const maxHoles = 4096

// adjacent is how close the ends of two bookings are, in seconds, if nothing was charged between them.
const adjacent = 5e-6

// addHole keeps the refund of a booking. The caller holds the shard's lock.
func (e *entry) addHole(a *adjustment, now float64) {
	e.holes = slices.DeleteFunc(e.holes, func(h *hole) bool { return h.after.TAT <= now })
	h := &hole{after: a.after, limit: a.limit, cost: float64(a.cost) * a.limit.seconds(), fresh: true}
	i, _ := slices.BinarySearchFunc(e.holes, h, func(x, y *hole) int { return cmp.Compare(x.end(), y.end()) })
	e.holes = slices.Insert(e.holes, i, h)
	if n := len(e.holes) - maxHoles; n > 0 {
		e.holes = slices.Delete(e.holes, 0, n)
	}
}

// refunds returns an adjustment for each run of adjacent holes with a fresh one: as if they were one booking. The caller
// holds the shard's lock.
func (e *entry) refunds() []adjustment {
	var refunds []adjustment
	for top := len(e.holes) - 1; top >= 0; {
		bottom := top
		for bottom > 0 && e.holes[bottom].follows(e.holes[bottom-1]) {
			bottom--
		}
		run := e.holes[bottom : top+1]
		top = bottom - 1
		left, fresh := 0.0, false
		for _, h := range run {
			left += h.cost - h.done
			fresh = fresh || h.fresh
			h.fresh = false
		}
		last := run[len(run)-1]
		cost := math.Floor(left/last.limit.seconds() + 1e-6)
		if !fresh || cost < 1 {
			continue
		}
		refunds = append(refunds, adjustment{
			kind: adjustGiveBack, e: e, limit: last.limit, cost: int64(cost), after: last.after, holes: slices.Clone(run),
		})
	}
	return refunds
}

// follows reports whether h was booked on the same limit right after g.
func (h *hole) follows(g *hole) bool {
	return h.limit == g.limit && math.Abs(h.end()-h.cost-g.end()) < adjacent
}

// filled records that the holes of a refund were given back, the last ones first.
func (a *adjustment) filled(seconds float64) {
	for _, h := range slices.Backward(a.holes) {
		part := min(seconds, h.cost-h.done)
		h.done += part
		seconds -= part
	}
}
