package caller

import (
	"slices"
	"time"

	"github.com/penstock/penstock/scripts"
)

// batch is the head of the queue as one script call asks for it: runs of waiters whose orders are alike.
type batch struct {
	demands []scripts.PoolDemand
	waiters []*waiter // of all demands, in their order
}

// head returns the first n waiters as a batch: those of higher priority first, where each priority is worth having
// come one aging earlier.
func (q *queue) head(n int, l *layout, horizon time.Duration) batch {
	n = min(n, q.len())
	b := batch{waiters: make([]*waiter, 0, n)}
	var next [len(q.lines)]*waiter
	for i := range q.lines {
		next[i] = q.lines[i].first
	}
	now := time.Now()
	for range n {
		var first *waiter
		var from int
		var came time.Time
		for i, w := range next {
			if w == nil {
				continue
			}
			if at := w.since.Add(-time.Duration(i) * q.aging); first == nil || !at.After(came) {
				first, from, came = w, i, at
			}
		}
		next[from] = first.next
		b.add(first, l, reach(first.rank(now, q.aging), horizon))
	}
	return b
}

// reach is how far ahead a call may be booked: a call of lower priority less far, so that a more urgent one that comes
// later finds a place before.
func reach(p Priority, horizon time.Duration) time.Duration { return horizon >> (PriorityHigh - p) }

// add puts w at the end, into the last run if it is like that.
func (b *batch) add(w *waiter, l *layout, ahead time.Duration) {
	w.asked = true
	b.waiters = append(b.waiters, w)
	if n := len(b.demands); n > 0 && b.waiters[len(b.waiters)-2].alike(w) && b.demands[n-1].Ahead == ahead {
		b.demands[n-1].Count++
		return
	}
	b.demands = append(b.demands, scripts.PoolDemand{
		Count: 1, ModelGroup: w.family, Ahead: ahead,
		Prefer: l.prefer(w.affinity, w.family), Exclude: l.lanesOf(w.except, w.family), Cost: w.cost,
	})
}

// alike reports whether one demand can stand for both.
func (w *waiter) alike(o *waiter) bool {
	return w.family == o.family && w.affinity == o.affinity && slices.Equal(w.except, o.except) && slices.Equal(w.cost, o.cost)
}

// over is for a batch whose script call has ended: its waiters are those of the queue alone again.
func (b *batch) over() {
	for _, w := range b.waiters {
		w.asked = false
	}
}
