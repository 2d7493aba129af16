package apisim

import "time"

// window is one limit's sliding log. It holds every admission of the last Per, so it is exact, and shares nothing with the
// algorithms under test. The account's lock guards it.
type window struct {
	limit Limit

	ring    []entry // a ring buffer of the entries that the window (now-Per, now] still holds
	head, n int
	used    int64 // units in the log
	own     int64 // units in the log of the clients under test

	peak    int64 // highest own ever
	total   int64 // own units since the start
	foreign int64 // units of other clients since the first admission
	spanned int64 // foreign at the last admission
	first   entry
	last    time.Duration
}

// entry is one admission. Times count from the server's start, on the monotonic clock.
type entry struct {
	at       time.Duration
	units    int64
	own      bool
	sequence uint64 // of the admission; 0: none
}

func newWindow(l Limit) *window { return &window{limit: l, ring: make([]entry, 16)} }

// expire removes what has left the window. An entry exactly Per old has left: the window is open at its start.
func (w *window) expire(now time.Duration) {
	for w.n > 0 && now-w.ring[w.head].at >= w.limit.Per {
		e := w.ring[w.head]
		w.used -= e.units
		if e.own {
			w.own -= e.units
		}
		w.head = (w.head + 1) % len(w.ring)
		w.n--
	}
}

// fits reports whether units may be admitted now, after expire.
func (w *window) fits(units int64) bool { return units <= w.limit.Limit-w.used }

// add enters units into the log.
func (w *window) add(e entry) {
	if w.n == len(w.ring) {
		w.grow()
	}
	w.ring[(w.head+w.n)%len(w.ring)] = e
	w.n++
	w.used += e.units
	if !e.own {
		return
	}
	if w.total == 0 {
		w.first, w.foreign = e, 0
	}
	w.own += e.units
	w.total += e.units
	w.last, w.spanned = e.at, w.foreign
	w.peak = max(w.peak, w.own)
}

// settle changes the units of an admission that the window still holds.
func (w *window) settle(sequence uint64, units int64) {
	for i := w.n - 1; i >= 0 && sequence > 0; i-- {
		e := &w.ring[(w.head+i)%len(w.ring)]
		if e.sequence != sequence {
			continue
		}
		delta := units - e.units
		e.units = units
		w.used, w.own, w.total = w.used+delta, w.own+delta, w.total+delta
		if w.first.sequence == sequence {
			w.first.units = units
		}
		w.peak = max(w.peak, w.own)
		return
	}
}

func (w *window) grow() {
	bigger := make([]entry, 2*len(w.ring))
	k := copy(bigger, w.ring[w.head:])
	copy(bigger[k:], w.ring[:w.head])
	w.ring, w.head = bigger, 0
}

// retryAfter returns the time until units fit without further calls, and false if they never do.
func (w *window) retryAfter(now time.Duration, units int64) (time.Duration, bool) {
	if units > w.limit.Limit {
		return 0, false
	}
	excess := w.used + units - w.limit.Limit
	for i := 0; excess > 0; i++ {
		e := w.ring[(w.head+i)%len(w.ring)]
		if excess -= e.units; excess <= 0 {
			return e.at + w.limit.Per - now, true
		}
	}
	return 0, true
}

// full returns the time until the whole limit is free.
func (w *window) full(now time.Duration) time.Duration {
	if w.n == 0 {
		return 0
	}
	return w.ring[(w.head+w.n-1)%len(w.ring)].at + w.limit.Per - now
}

func (w *window) remaining() int64 { return max(0, w.limit.Limit-w.used) }

// allowed returns the units that the limit allowed at its rate, from the first admission to the last.
func (w *window) allowed() float64 {
	return float64(w.limit.Limit)*float64(w.last-w.first.at)/float64(w.limit.Per) - float64(w.spanned)
}
