package admission

import (
	"slices"
	"time"

	"github.com/penstock/penstock/scripts"
)

// batch is the head of the queue as one script call asks for it. Neighbours whose requests are the same are one demand.
type batch struct {
	demands []scripts.PoolDemand
	waiters []*waiter // of all demands, in their order
}

// head returns the first n waiters as a batch: of each tenant its part by weight, and of these in the order of service. A
// waiter counts as having come one aging earlier for each priority that it has above the lowest.
func (q *queue) head(n int, t *topology, horizon time.Duration, now time.Time) batch {
	n = min(n, q.len())
	b := batch{waiters: make([]*waiter, 0, n)}
	q.portions(n, func(l *lane, n int) { b.addHead(l, n, q.aging, t, horizon, now) })
	return b
}

// addHead adds the first n waiters of a tenant.
func (b *batch) addHead(l *lane, n int, aging time.Duration, t *topology, horizon time.Duration, now time.Time) {
	var next [Priorities]*waiter
	for i := range l.fifos {
		next[i] = l.fifos[i].first
	}
	for range n {
		var first *waiter
		var from int
		var came time.Time
		for i, w := range next {
			if w == nil {
				continue
			}
			if at := w.since.Add(-time.Duration(i) * aging); first == nil || !at.After(came) {
				first, from, came = w, i, at
			}
		}
		next[from] = first.next
		b.add(first, t, bookingHorizon(first.agedPriority(now, aging), horizon))
	}
}

// bookingHorizon is how far ahead of now a call of a priority may be booked. It halves with each lower priority, so that
// a more urgent call that comes later finds an earlier send time.
func bookingHorizon(priority int, horizon time.Duration) time.Duration {
	return horizon >> (Priorities - 1 - priority)
}

// add puts w at the end, into the last demand if that stands for w, too.
func (b *batch) add(w *waiter, t *topology, ahead time.Duration) {
	w.inCall = true
	b.waiters = append(b.waiters, w)
	if n := len(b.demands); n > 0 && b.waiters[len(b.waiters)-2].sameDemand(w) && b.demands[n-1].Ahead == ahead {
		b.demands[n-1].Count++
		return
	}
	b.demands = append(b.demands, scripts.PoolDemand{
		Count: 1, ModelGroup: w.group, Ahead: ahead,
		Prefer: t.prefer(w.Affinity, w.group), Exclude: t.targetsOf(w.Exclude, w.group), Cost: w.Units, Tenant: w.tenant,
	})
}

// sameDemand reports whether one demand can stand for both.
func (w *waiter) sameDemand(o *waiter) bool {
	return w.group == o.group && w.tenant == o.tenant && w.Affinity == o.Affinity && slices.Equal(w.Exclude, o.Exclude) && slices.Equal(w.Units, o.Units)
}

// callEnded is for the end of the script call: it refers to the waiters no more.
func (b *batch) callEnded() {
	for _, w := range b.waiters {
		w.inCall = false
	}
}
