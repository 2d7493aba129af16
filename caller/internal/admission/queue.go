package admission

import "time"

// waiter is one request that waits. All but ready is guarded by the controller's lock until the waiter is answered.
type waiter struct {
	Request
	group      int // index of its model group
	since      time.Time
	deadline   time.Time // zero: none
	fifo       *fifo     // nil: it doesn't wait any more
	prev, next *waiter
	inCall     bool          // the script call in flight asks for it
	reusable   bool          // it is answered and nothing refers to it, so that it can go back to the waiterPool
	ready      chan struct{} // gets one element once the grant is filled or err is set; capacity 1
	grant      *Grant        // to fill
	before     Waits         // of the model group when the waiter joined
	err        error
}

// expiresBy reports whether the call's deadline is no later than a time.
func (w *waiter) expiresBy(t time.Time) bool { return !w.deadline.IsZero() && !w.deadline.After(t) }

// notServedBefore reports whether w can't be admitted before first: its priority is no higher, it came no earlier, and
// it costs at least as much on every metric.
func (w *waiter) notServedBefore(first *waiter) bool {
	if w.Priority > first.Priority || w.since.Before(first.since) {
		return false
	}
	for i, units := range first.Units {
		if w.Units[i] < units {
			return false
		}
	}
	return true
}

// agedPriority is w's priority after waiting until now: one more for each aging.
func (w *waiter) agedPriority(now time.Time, aging time.Duration) int {
	if w.Priority == Priorities-1 {
		return w.Priority
	}
	return min(Priorities-1, w.Priority+int(now.Sub(w.since)/aging))
}

// wake sends the answer to the goroutine that waits.
func (w *waiter) wake() { w.ready <- struct{}{} }

// fifo is the waiters of one priority in the order of service. They are linked through their own fields, so that
// waiting costs no allocation.
type fifo struct {
	first, last *waiter
	n           int
}

func (f *fifo) pushBack(w *waiter) {
	w.fifo, w.prev, w.next = f, f.last, nil
	if f.last == nil {
		f.first = w
	} else {
		f.last.next = w
	}
	f.last = w
	f.n++
}

func (f *fifo) pushFront(w *waiter) {
	w.fifo, w.prev, w.next = f, nil, f.first
	if f.first == nil {
		f.last = w
	} else {
		f.first.prev = w
	}
	f.first = w
	f.n++
}

func (f *fifo) remove(w *waiter) {
	if w.prev == nil {
		f.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		f.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.fifo, w.prev, w.next = nil, nil, nil
	f.n--
}

// queue holds the waiters of a process: for each priority retries first, then in the order of arrival.
type queue struct {
	fifos   [Priorities]fifo
	aging   time.Duration
	byGroup [][Priorities]int // number of waiters by model group and priority
}

func (q *queue) len() int {
	n := 0
	for i := range q.fifos {
		n += q.fifos[i].n
	}
	return n
}

// regroup gives each waiter another model group.
func (q *queue) regroup(groupOf func(*waiter) int) {
	q.byGroup = nil
	for i := range q.fifos {
		for w := q.fifos[i].first; w != nil; w = w.next {
			w.group = groupOf(w)
			q.count(w, 1)
		}
	}
}

// count adds to the number of waiters of w's model group and priority.
func (q *queue) count(w *waiter, n int) {
	for w.group >= len(q.byGroup) {
		q.byGroup = append(q.byGroup, [Priorities]int{})
	}
	q.byGroup[w.group][w.Priority] += n
}

// servedFirst reports whether no waiter of w's model group has w's priority or a higher one.
func (q *queue) servedFirst(w *waiter) bool {
	if w.group >= len(q.byGroup) {
		return true
	}
	for _, n := range q.byGroup[w.group][w.Priority:] {
		if n > 0 {
			return false
		}
	}
	return true
}

func (q *queue) add(w *waiter) {
	q.count(w, 1)
	if w.Retry {
		q.fifos[w.Priority].pushFront(w)
	} else {
		q.fifos[w.Priority].pushBack(w)
	}
}

// remove takes w out, if it is still in.
func (q *queue) remove(w *waiter) {
	if w.fifo != nil {
		w.fifo.remove(w)
		q.count(w, -1)
	}
}

// answer takes w out with its result. The caller wakes w afterwards.
func (q *queue) answer(w *waiter, err error) {
	q.remove(w)
	w.err, w.reusable = err, !w.inCall
}

// refuse answers w with an error and wakes it.
func (q *queue) refuse(w *waiter, err error) {
	q.answer(w, err)
	w.wake()
}

// expiringBy returns the waiters whose deadline is no later than a time.
func (q *queue) expiringBy(t time.Time) []*waiter {
	var expiring []*waiter
	for i := range q.fifos {
		for w := q.fifos[i].first; w != nil; w = w.next {
			if w.expiresBy(t) {
				expiring = append(expiring, w)
			}
		}
	}
	return expiring
}

// all returns the waiters.
func (q *queue) all() []*waiter {
	all := make([]*waiter, 0, q.len())
	for i := range q.fifos {
		for w := q.fifos[i].first; w != nil; w = w.next {
			all = append(all, w)
		}
	}
	return all
}

// nextEligible returns the first waiter of a priority that a booking fits, of the highest such priority; nil: there is
// none. Only the first of each priority counts, so that no waiter is passed over.
func (q *queue) nextEligible(b *booking, groups []modelGroup) *waiter {
	for i := len(q.fifos) - 1; i >= 0; i-- {
		if w := q.fifos[i].first; w != nil && b.fits(w, groups[w.group].name) {
			return w
		}
	}
	return nil
}
