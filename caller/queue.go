package caller

import (
	"container/list"
	"slices"
	"time"

	"github.com/penstock/penstock/scripts"
)

// order is what one call asks of admission.
type order struct {
	cost     []int64
	model    string
	priority Priority
	affinity string
	again    bool // not the call's first attempt: it goes before those that come for the first time
}

// waiter is one order that waits. All but ready belongs to the pool's lock.
type waiter struct {
	order
	family   int
	since    time.Time
	deadline time.Time // zero: none
	place    *list.Element
	ready    chan struct{} // closed once grant or err is set
	grant    *Grant
	err      error
}

// before reports whether the call's deadline is over by then.
func (w *waiter) before(then time.Time) bool { return !w.deadline.IsZero() && !w.deadline.After(then) }

// rank is the priority that w has by now: a higher one for each aging that it has waited.
func (w *waiter) rank(now time.Time, aging time.Duration) Priority {
	return min(Interactive, w.priority+Priority(now.Sub(w.since)/aging))
}

// queue holds the waiters of a process, for each priority in order of arrival.
type queue struct {
	lines [Interactive - Bulk + 1]list.List
	aging time.Duration
}

func (q *queue) line(p Priority) *list.List { return &q.lines[p-Bulk] }

func (q *queue) len() int {
	n := 0
	for i := range q.lines {
		n += q.lines[i].Len()
	}
	return n
}

// urgent reports whether a call of the priority would be the first to be served.
func (q *queue) urgent(p Priority) bool {
	for i := p; i <= Interactive; i++ {
		if q.line(i).Len() > 0 {
			return false
		}
	}
	return true
}

func (q *queue) add(w *waiter) {
	if w.again {
		w.place = q.line(w.priority).PushFront(w)
	} else {
		w.place = q.line(w.priority).PushBack(w)
	}
}

// remove takes w out, if it is still in.
func (q *queue) remove(w *waiter) {
	if w.place != nil {
		q.line(w.priority).Remove(w.place)
		w.place = nil
	}
}

// settle answers w and takes it out of the queue.
func (q *queue) settle(w *waiter, g *Grant, err error) {
	q.remove(w)
	w.grant, w.err = g, err
	close(w.ready)
}

// all returns the waiters.
func (q *queue) all() []*waiter {
	all := make([]*waiter, 0, q.len())
	for i := range q.lines {
		for e := q.lines[i].Front(); e != nil; e = e.Next() {
			all = append(all, e.Value.(*waiter)) //nolint:forcetypeassert // the list holds nothing else
		}
	}
	return all
}

// batch is the head of the queue as one script call asks for it: runs of waiters whose orders are alike.
type batch struct {
	demands []scripts.PoolDemand
	runs    [][]*waiter
}

// size returns how many waiters are in the batch.
func (b batch) size() int {
	n := 0
	for _, d := range b.demands {
		n += d.Count
	}
	return n
}

// head returns the first n waiters as a batch: those of higher priority first, where each priority is worth having
// come one aging earlier.
func (q *queue) head(n int, l *layout, horizon time.Duration) batch {
	var b batch
	var next [len(q.lines)]*list.Element
	for i := range q.lines {
		next[i] = q.lines[i].Front()
	}
	now := time.Now()
	for ; n > 0; n-- {
		var first *waiter
		var from int
		var came time.Time
		for i, e := range next {
			if e == nil {
				continue
			}
			w := e.Value.(*waiter) //nolint:forcetypeassert // the list holds nothing else
			if at := w.since.Add(-time.Duration(i) * q.aging); first == nil || !at.After(came) {
				first, from, came = w, i, at
			}
		}
		if first == nil {
			break
		}
		next[from] = next[from].Next()
		b.add(first, l, horizon>>(Interactive-first.rank(now, q.aging)))
	}
	return b
}

// add puts w at the end, into the last run if it is like that.
func (b *batch) add(w *waiter, l *layout, ahead time.Duration) {
	d := scripts.PoolDemand{
		Family: w.family, Ahead: ahead,
		Prefer: l.prefer(w.affinity, w.family), Cost: w.cost,
	}
	if n := len(b.runs); n > 0 && alike(&b.demands[n-1], &d) {
		b.demands[n-1].Count++
		b.runs[n-1] = append(b.runs[n-1], w)
		return
	}
	d.Count = 1
	b.demands = append(b.demands, d)
	b.runs = append(b.runs, []*waiter{w})
}

func alike(a, b *scripts.PoolDemand) bool {
	return a.Family == b.Family && a.Ahead == b.Ahead && a.Prefer == b.Prefer &&
		slices.Equal(a.Except, b.Except) && slices.Equal(a.Cost, b.Cost)
}
