package ratelimit

import (
	"context"
	"time"
)

// Admission is the answer to a call on several limits.
type Admission struct {
	// Allowed is whether all charges were made. If it is false, no charge was made.
	Allowed bool
	// Refused is the index of the charge that the limits admit last; -1 if all charges were made.
	Refused int
	// RetryAfter is the time until all charges fit if no other call takes units; -1 if they were made. A cost above its
	// burst never fits. RetryAfter is then the time until the limit has been idle for long enough to hold the cost.
	RetryAfter time.Duration
}

// Admit makes all charges now, or none of them, in one atomic step.
func (l *Limiter) Admit(ctx context.Context, charges ...Charge) (*Admission, error) {
	if hasConstant(charges) {
		return l.admitConstant(ctx, charges)
	}
	var buf [4]item
	items, err := l.items(buf[:0], charges)
	if err != nil {
		return nil, err
	}
	if a := l.refuseAllLocally(items); a != nil {
		l.cfg.Hooks.decidedAll(ctx, charges, a, true)
		return a, nil
	}
	t, err := l.submit(ctx, opAllow, items, unbounded)
	if err != nil {
		return nil, failure(charges, 0, err)
	}
	a := t.g.admission(t.i)
	l.cfg.Hooks.decidedAll(ctx, charges, a, false)
	return a, nil
}

// admission returns the answer to call i of a group.
func (g *group) admission(i int) *Admission {
	a := &Admission{Allowed: true, Refused: -1, RetryAfter: -1}
	if g.rank(i) < g.granted {
		return a
	}
	for j := range g.items {
		it := &g.items[j]
		a.refuse(j, it, it.units+float64(g.granted*it.cost))
	}
	return a
}

// refuse records that item j, with so many units consumed, may not have room for its cost.
func (a *Admission) refuse(j int, it *item, units float64) {
	var d Result
	d.Limit = it.limit
	if units+float64(it.cost) <= float64(it.limit.Burst) {
		return
	}
	d.refuse(it.limit.seconds(), units, float64(it.cost))
	if d.RetryAfter > a.RetryAfter {
		a.Allowed, a.Refused, a.RetryAfter = false, j, d.RetryAfter
	}
}

// refuseAllLocally answers a call that the cached refusals rule out. It returns nil if Redis must be asked.
func (l *Limiter) refuseAllLocally(items []item) *Admission {
	var a *Admission
	for j := range items {
		it := &items[j]
		if it.cost == 0 || it.e.refusal.Load() == nil {
			continue
		}
		units, refused := l.refused(it.e, &it.limit, it.cost)
		if !refused {
			continue
		}
		if a == nil {
			a = &Admission{Allowed: true, Refused: -1, RetryAfter: -1}
		}
		a.refuse(j, it, units)
	}
	return a
}
