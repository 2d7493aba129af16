package admission

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

// Tenant is one of those who share the pool inside this service. Tenants with calls that wait share each limit by
// weight, over all processes. What one doesn't use is free for the others.
type Tenant struct {
	Name       string  // empty: the default, which calls of unknown tenants belong to
	Weight     float64 // more than 0
	Guaranteed float64 // share of the pool that the tenant has whatever the others ask for; from 0 to less than 1
}

// poolTenants returns the tenants as the script wants them.
func poolTenants(tenants []Tenant) []scripts.PoolTenant {
	var list []scripts.PoolTenant
	for _, t := range tenants {
		list = append(list, scripts.PoolTenant{Name: t.Name, Weight: t.Weight, Guaranteed: t.Guaranteed})
	}
	return list
}

// lane is the waiters of one tenant. A pool without tenants has one lane.
type lane struct {
	fifos  [Priorities]fifo
	weight float64
	n      int
}

// newQueue returns an empty queue.
func newQueue(aging time.Duration, tenants []Tenant) queue {
	q := queue{aging: aging, lanes: make([]lane, max(1, len(tenants)))}
	for i, t := range tenants {
		if q.tenants == nil {
			q.tenants = make(map[string]int, len(tenants))
		}
		q.lanes[i].weight, q.tenants[t.Name] = t.Weight, i
	}
	return q
}

// portions calls f with each tenant that has waiters and its part of n by weight, one at least while any is left. It
// begins at another tenant each time, so that none is passed over for long.
func (q *queue) portions(n int, f func(l *lane, n int)) {
	weight := 0.0
	for i := range q.lanes {
		if q.lanes[i].n > 0 {
			weight += q.lanes[i].weight
		}
	}
	begin := q.turn
	for k := 0; k < len(q.lanes) && n > 0; k++ {
		at := (begin + k) % len(q.lanes)
		l := &q.lanes[at]
		if l.n == 0 {
			continue
		}
		its := n
		if l.weight < weight {
			its = min(n, l.n, max(1, int(float64(n)*l.weight/weight)))
		}
		f(l, min(its, l.n))
		n, weight, q.turn = n-min(its, l.n), weight-l.weight, (at+1)%len(q.lanes)
	}
}
