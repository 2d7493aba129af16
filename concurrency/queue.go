package concurrency

import "context"

// Priority orders callers: a higher one is served before a lower one, in the whole fleet, and within a priority a
// process serves its callers in the order in which they came.
type Priority int

const (
	// Low is for work that uses what is left.
	Low Priority = iota - 1
	// Normal is the default.
	Normal
	// High is for work that somebody waits for.
	High
)

// levels is how many priorities there are; level 0 is the highest.
const levels = 3

func (p Priority) level() int { return int(High - p) }

// waiter is one caller in the queue. Everything but ready is guarded by the semaphore's mutex.
type waiter struct {
	ctx        context.Context
	n          int64
	level      int
	hold       holdLimit
	try        bool  // don't wait longer than for one answer of Redis
	asked      int64 // reports with a higher number include this waiter
	queued     bool
	prev, next *waiter
	ready      chan outcome // one element; whoever takes the waiter out of the queue sends
}

type outcome struct {
	lease *Lease
	err   error
}

// queue holds the waiting callers, the first of the highest priority at its head. A large request at the head holds up
// the small ones behind it: if they could pass, it would never be served.
type queue struct {
	first, last [levels]*waiter
	units       [levels]int64
	tries       int
}

func (q *queue) push(w *waiter) {
	l := w.level
	w.prev, w.next, w.queued = q.last[l], nil, true
	if w.prev != nil {
		w.prev.next = w
	} else {
		q.first[l] = w
	}
	q.last[l] = w
	q.units[l] += w.n
	if w.try {
		q.tries++
	}
}

func (q *queue) remove(w *waiter) {
	l := w.level
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.first[l] = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.last[l] = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.units[l] -= w.n
	if w.try {
		q.tries--
	}
}

// head returns the waiter that is next, or nil.
func (q *queue) head() *waiter {
	for _, w := range q.first {
		if w != nil {
			return w
		}
	}
	return nil
}

// ahead reports whether a newcomer of the level would have to wait behind somebody.
func (q *queue) ahead(level int) bool {
	for l := range level + 1 {
		if q.first[l] != nil {
			return true
		}
	}
	return false
}

// drop takes out every waiter that unfit says can't be served and tells it why.
func (q *queue) drop(unfit func(*waiter) error) {
	for _, w := range q.first {
		for w != nil {
			next := w.next
			if err := unfit(w); err != nil {
				q.remove(w)
				w.ready <- outcome{err: err}
			}
			w = next
		}
	}
}
