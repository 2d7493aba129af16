package concurrency

import (
	"context"
	"time"
)

// waiter is one request in the queue. The semaphore's mutex guards everything but ready.
type waiter struct {
	ctx        context.Context
	n          int64 // permits
	level      int
	maxWait    time.Duration // 0: no maximum
	maxHold    time.Duration // of the lease; 0: no maximum
	try        bool          // waits for one reply of Redis at most
	afterSeq   int64         // a report with a higher number includes this waiter
	queued     bool
	prev, next *waiter
	lease      *Lease       // while the waiter is in a grantedList
	ready      chan outcome // of one element; it is sent after the waiter was removed from the queue
}

// outcome is the end of a wait: a lease or an error.
type outcome struct {
	lease *Lease
	err   error
}

// queue holds the waiting requests by priority, then by age. A large request at the head delays the small ones behind it:
// if they could overtake it, it might never be served.
type queue struct {
	first, last [levels]*waiter
	units       [levels]int64 // permits waited for
	tries       int           // waiters of TryAcquire
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

// head returns the waiter that is served next, or nil.
func (q *queue) head() *waiter {
	for _, w := range q.first {
		if w != nil {
			return w
		}
	}
	return nil
}

// blocks reports whether a new request of the level has to wait behind another.
func (q *queue) blocks(level int) bool {
	for l := range level + 1 {
		if q.first[l] != nil {
			return true
		}
	}
	return false
}

// drop removes the waiters for which refuse returns an error, and sends them that error.
func (q *queue) drop(refuse func(*waiter) error) {
	for _, w := range q.first {
		for w != nil {
			next := w.next
			if err := refuse(w); err != nil {
				q.remove(w)
				w.ready <- outcome{err: err}
			}
			w = next
		}
	}
}

// grantedList holds waiters that have their lease, in the order of the grants, until the semaphore's mutex is released: to
// wake a goroutine takes longer than all that is done under the mutex.
type grantedList struct {
	first, last *waiter
}

func (g *grantedList) add(w *waiter, l *Lease) {
	w.lease = l
	if g.first == nil {
		g.first = w
	} else {
		g.last.next = w
	}
	g.last = w
}

// send wakes the waiters. Each may be in use for another request as soon as it was sent its lease.
func (g *grantedList) send() {
	for w := g.first; w != nil; {
		next, l := w.next, w.lease
		w.next, w.lease = nil, nil
		w.ready <- outcome{lease: l}
		w = next
	}
}
