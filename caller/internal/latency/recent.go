// Package latency estimates how long calls take of late, by name.
package latency

import (
	"sync"
	"time"

	"github.com/penstock/penstock/caller/internal/bounded"
)

const (
	// share is the share of the calls that take no longer than the estimate.
	share = 0.9
	// step is how far one call moves an estimate, as a share of it.
	step = 0.1
	// forgottenAfter is the time after the last call from which on there is no estimate.
	forgottenAfter = 10 * time.Second
)

// Recent estimates the time that nine of ten recent calls of a name stay below. The zero Recent knows none. Safe for
// concurrent use.
//
// The estimate moves up by nine tenths of a step for a call that takes longer, and down by a tenth of it for another. So it
// comes to rest where one call in ten takes longer (Robbins and Monro 1951), needs no list of latencies, and follows a
// provider that becomes slower within a few calls.
type Recent struct{ names bounded.Map[estimate] }

type estimate struct {
	mu   sync.Mutex
	d    time.Duration
	last time.Time
}

// Add adds the latency of a call that ended at a time. cut says that the call was cut off then, and would have taken
// longer.
func (r *Recent) Add(name string, d time.Duration, cut bool, now time.Time) {
	e := r.names.Get(name)
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case now.Sub(e.last) > forgottenAfter:
		e.d = d
	case d > e.d:
		e.d = min(d, e.d+time.Duration(float64(e.d)*step*share)+1)
	case cut:
		return // it says nothing about what would have taken less
	default:
		e.d -= time.Duration(float64(e.d) * step * (1 - share))
	}
	e.last = now
}

// Of returns the estimate for a name; 0: there were no calls of late.
func (r *Recent) Of(name string, now time.Time) time.Duration {
	e := r.names.Find(name)
	if e == nil {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if now.Sub(e.last) > forgottenAfter {
		return 0
	}
	return e.d
}
