package ratelimit

import (
	"context"
	"time"
)

// Admission is the answer to a call on several limits.
type Admission struct {
	// Allowed is whether all charges were made. If not, none was.
	Allowed bool
	// Refused is the index of the charge that refused: the one that fits last of those that didn't fit; -1 if all did.
	Refused int
	// RetryAfter is when all charges would fit if nobody else came; -1 if they were made. For a cost above its burst
	// it is when the limit would have been idle for long enough, which no call ever sees.
	RetryAfter time.Duration
}

// Admit makes all charges now, or none, in one step.
func (l *Limiter) Admit(ctx context.Context, charges ...Charge) (*Admission, error) {
	var buf [4]item
	items, err := l.items(buf[:0], charges)
	if err != nil {
		return nil, err
	}
	if a := l.refuseAllLocally(items); a != nil {
		l.cfg.Hooks.decidedAll(charges, a, true)
		return a, nil
	}
	t, err := l.submit(ctx, opAllow, items, never)
	if err != nil {
		return nil, failure(charges, 0, err)
	}
	a := t.g.admission(t.i)
	l.cfg.Hooks.decidedAll(charges, a, false)
	return a, nil
}

// admission is the answer to call i of a group.
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

// refuse notes that the limit stands at so many units, where its cost may not fit.
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

// refuseAllLocally answers a call that certainly doesn't fit; nil if Redis must be asked.
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
