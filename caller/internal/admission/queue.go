package admission

import "time"

// waiter is one request that waits. All but ready is guarded by the controller's lock until the waiter is answered.
type waiter struct {
	Request
	group      int // index of its model group
	tenant     int // index of its tenant
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

// queue holds the waiters of a process: for each tenant and priority retries first, then in the order of arrival.
type queue struct {
	lanes   []lane         // by tenant
	tenants map[string]int // index of each tenant by name, which doesn't change; nil: there are none
	turn    int            // the tenant whose calls the next batch begins with
	n       int
	aging   time.Duration
	byGroup [][Priorities]int // number of waiters by model group and tenant, and by priority
}

func (q *queue) len() int { return q.n }

// regroup gives each waiter another model group.
func (q *queue) regroup(groupOf func(*waiter) int) {
	q.byGroup = nil
	for _, w := range q.all() {
		w.group = groupOf(w)
		q.count(w, 1)
	}
}

// place returns where the waiters of w's model group and tenant are counted.
func (q *queue) place(w *waiter) int { return w.group*len(q.lanes) + w.tenant }

// count adds to the number of waiters of w's model group, tenant and priority.
func (q *queue) count(w *waiter, n int) {
	for q.place(w) >= len(q.byGroup) {
		q.byGroup = append(q.byGroup, [Priorities]int{})
	}
	q.byGroup[q.place(w)][w.Priority] += n
}

// servedFirst reports whether no waiter of w's model group and tenant has w's priority or a higher one.
func (q *queue) servedFirst(w *waiter) bool {
	if q.place(w) >= len(q.byGroup) {
		return true
	}
	for _, n := range q.byGroup[q.place(w)][w.Priority:] {
		if n > 0 {
			return false
		}
	}
	return true
}

func (q *queue) add(w *waiter) {
	q.count(w, 1)
	l := &q.lanes[w.tenant]
	l.n++
	q.n++
	if w.Retry {
		l.fifos[w.Priority].pushFront(w)
	} else {
		l.fifos[w.Priority].pushBack(w)
	}
}

// remove takes w out, if it is still in.
func (q *queue) remove(w *waiter) {
	if w.fifo != nil {
		w.fifo.remove(w)
		q.count(w, -1)
		q.lanes[w.tenant].n--
		q.n--
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
	q.each(func(w *waiter) {
		if w.expiresBy(t) {
			expiring = append(expiring, w)
		}
	})
	return expiring
}

// all returns the waiters.
func (q *queue) all() []*waiter {
	all := make([]*waiter, 0, q.len())
	q.each(func(w *waiter) { all = append(all, w) })
	return all
}

func (q *queue) each(f func(*waiter)) {
	for i := range q.lanes {
		for k := range q.lanes[i].fifos {
			for w := q.lanes[i].fifos[k].first; w != nil; w = w.next {
				f(w)
			}
		}
	}
}

// waiting returns how many waiters a priority has.
func (q *queue) waiting(priority int) int {
	n := 0
	for i := range q.lanes {
		n += q.lanes[i].fifos[priority].n
	}
	return n
}

// since returns when the first waiter of a priority began to wait; zero: there is none.
func (q *queue) since(priority int) time.Time {
	var since time.Time
	for i := range q.lanes {
		if w := q.lanes[i].fifos[priority].first; w != nil && (since.IsZero() || w.since.Before(since)) {
			since = w.since
		}
	}
	return since
}

// nextEligible returns the first waiter that a booking fits: of the booking's tenant, else of the next one that has such a
// waiter; of the highest priority there. Only the first of each priority counts, so that no waiter is passed over. nil:
// there is none.
func (q *queue) nextEligible(b *booking, groups []modelGroup) *waiter {
	for k := range q.lanes {
		l := &q.lanes[(b.tenant+k)%len(q.lanes)]
		if l.n == 0 {
			continue
		}
		for i := len(l.fifos) - 1; i >= 0; i-- {
			if w := l.fifos[i].first; w != nil && b.fits(w, groups[w.group].name) {
				return w
			}
		}
	}
	return nil
}
