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

// behind reports whether w's turn is after that of an older waiter for the same models.
func (w *waiter) behind(first *waiter) bool {
	if w.priority > first.priority || w.since.Before(first.since) {
		return false
	}
	for i, units := range first.cost {
		if w.cost[i] < units {
			return false
		}
	}
	return true
}

// rank is the priority that w has by now: a higher one for each aging that it has waited.
func (w *waiter) rank(now time.Time, aging time.Duration) Priority {
	if w.priority == PriorityHigh {
		return PriorityHigh
	}
	return min(PriorityHigh, w.priority+Priority(now.Sub(w.since)/aging))
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
	lines [PriorityHigh - PriorityLow + 1]line
	aging time.Duration
	// byFamily counts the waiters of each family and line.
	byFamily [][PriorityHigh - PriorityLow + 1]int
}

func (q *queue) line(p Priority) *line { return &q.lines[p-PriorityLow] }

func (q *queue) len() int {
	n := 0
	for i := range q.lines {
		n += q.lines[i].n
	}
	return n
}

// urgent reports whether w would be the first of its family to be served.
func (q *queue) urgent(w *waiter) bool {
	if w.family >= len(q.byFamily) {
		return true
	}
	for _, n := range q.byFamily[w.family][w.priority-PriorityLow:] {
		if n > 0 {
			return false
		}
	}
	return true
}

func (q *queue) add(w *waiter) {
	for w.family >= len(q.byFamily) {
		q.byFamily = append(q.byFamily, [len(q.lines)]int{})
	}
	q.byFamily[w.family][w.priority-PriorityLow]++
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
		q.byFamily[w.family][w.priority-PriorityLow]--
	}
}

// answer takes w out of the queue, with its answer. Whoever calls it wakes w afterwards.
func (q *queue) answer(w *waiter, g *Grant, err error) {
	q.remove(w)
	w.grant, w.err, w.spent = g, err, !w.asked
}

// refuse answers w at once.
func (q *queue) refuse(w *waiter, err error) {
	q.answer(w, nil, err)
	w.wake()
}

// late returns the waiters whose deadline is over by then.
func (q *queue) late(then time.Time) []*waiter {
	var late []*waiter
	for i := range q.lines {
		for w := q.lines[i].first; w != nil; w = w.next {
			if w.before(then) {
				late = append(late, w)
			}
		}
	}
	return late
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
