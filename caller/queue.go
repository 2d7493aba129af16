package caller

import (
	"container/list"
	"slices"
	"time"

	"github.com/penstock/penstock/scripts"
)

// waiter is one call that waits for admission. Its fields but ready belong to the pool's lock.
type waiter struct {
	cost     []int64
	deadline time.Time // zero: none
	place    *list.Element
	ready    chan struct{} // closed once grant or err is set
	grant    *Grant
	err      error
}

// before reports whether the call's deadline is over by then.
func (w *waiter) before(then time.Time) bool { return !w.deadline.IsZero() && !w.deadline.After(then) }

// queue holds the waiters of a process, first come, first served.
type queue struct{ waiters list.List }

func (q *queue) len() int { return q.waiters.Len() }

// add puts w last, or first where it has waited before.
func (q *queue) add(w *waiter, again bool) {
	if again {
		w.place = q.waiters.PushFront(w)
	} else {
		w.place = q.waiters.PushBack(w)
	}
}

// remove takes w out, if it is still in.
func (q *queue) remove(w *waiter) {
	if w.place != nil {
		q.waiters.Remove(w.place)
		w.place = nil
	}
}

// settle answers w and takes it out of the queue.
func (q *queue) settle(w *waiter, g *Grant, err error) {
	q.remove(w)
	w.grant, w.err = g, err
	close(w.ready)
}

// all returns the waiters in order.
func (q *queue) all() []*waiter {
	all := make([]*waiter, 0, q.len())
	for e := q.waiters.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*waiter))
	}
	return all
}

// batch is the head of the queue as one script call asks for it: runs of waiters with equal cost.
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

// head returns up to n waiters as a batch. They may take any of the lanes.
func (q *queue) head(n, lanes int) batch {
	var b batch
	for e := q.waiters.Front(); e != nil && n > 0; e, n = e.Next(), n-1 {
		w := e.Value.(*waiter)
		last := len(b.runs) - 1
		if last < 0 || !slices.Equal(b.demands[last].Cost, w.cost) {
			b.demands = append(b.demands, scripts.PoolDemand{Last: lanes - 1, Cost: w.cost})
			b.runs = append(b.runs, nil)
			last++
		}
		b.demands[last].Count++
		b.runs[last] = append(b.runs[last], w)
	}
	return b
}
