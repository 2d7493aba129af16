package caller

import "time"

// order is what one call asks of admission.
type order struct {
	cost     []int64
	model    string
	priority Priority
	affinity string
	except   []string // accounts that don't do
	again    bool     // not the call's first attempt: it goes before those that come for the first time
}

// waiter is one order that waits. All but ready belongs to the pool's lock, until it has been answered.
type waiter struct {
	order
	family     int
	since      time.Time
	deadline   time.Time // zero: none
	line       *line     // nil: it waits no more
	prev, next *waiter
	asked      bool          // a script call that asks for it is under way
	spent      bool          // nothing refers to it once it is answered: it may serve again
	ready      chan struct{} // gets one element once grant or err is set; it holds that
	grant      *Grant
	err        error
}

// before reports whether the call's deadline is over by then.
func (w *waiter) before(then time.Time) bool { return !w.deadline.IsZero() && !w.deadline.After(then) }

// rank is the priority that w has by now: a higher one for each aging that it has waited.
func (w *waiter) rank(now time.Time, aging time.Duration) Priority {
	if w.priority == Interactive {
		return Interactive
	}
	return min(Interactive, w.priority+Priority(now.Sub(w.since)/aging))
}

// wake tells whoever waits that there is an answer.
func (w *waiter) wake() { w.ready <- struct{}{} }

// line is waiters of one priority in their order. They are linked by themselves: waiting costs no allocation.
type line struct {
	first, last *waiter
	n           int
}

func (l *line) pushBack(w *waiter) {
	w.line, w.prev, w.next = l, l.last, nil
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	l.n++
}

func (l *line) pushFront(w *waiter) {
	w.line, w.prev, w.next = l, nil, l.first
	if l.first == nil {
		l.last = w
	} else {
		l.first.prev = w
	}
	l.first = w
	l.n++
}

func (l *line) remove(w *waiter) {
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.line, w.prev, w.next = nil, nil, nil
	l.n--
}

// queue holds the waiters of a process, for each priority in order of arrival.
type queue struct {
	lines [Interactive - Bulk + 1]line
	aging time.Duration
}

func (q *queue) line(p Priority) *line { return &q.lines[p-Bulk] }

func (q *queue) len() int {
	n := 0
	for i := range q.lines {
		n += q.lines[i].n
	}
	return n
}

// urgent reports whether a call of the priority would be the first to be served.
func (q *queue) urgent(p Priority) bool {
	for i := p; i <= Interactive; i++ {
		if q.line(i).n > 0 {
			return false
		}
	}
	return true
}

func (q *queue) add(w *waiter) {
	if w.again {
		q.line(w.priority).pushFront(w)
	} else {
		q.line(w.priority).pushBack(w)
	}
}

// remove takes w out, if it is still in.
func (q *queue) remove(w *waiter) {
	if w.line != nil {
		w.line.remove(w)
	}
}

// answer takes w out of the queue, with its answer. Whoever calls it wakes w afterwards.
func (q *queue) answer(w *waiter, g *Grant, err error) {
	q.remove(w)
	w.grant, w.err, w.spent = g, err, !w.asked
}

// settle answers w at once.
func (q *queue) settle(w *waiter, g *Grant, err error) {
	q.answer(w, g, err)
	w.wake()
}

// all returns the waiters.
func (q *queue) all() []*waiter {
	all := make([]*waiter, 0, q.len())
	for i := range q.lines {
		for w := q.lines[i].first; w != nil; w = w.next {
			all = append(all, w)
		}
	}
	return all
}
