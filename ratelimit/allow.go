package ratelimit

import (
	"context"
)

// Allow takes one unit of the key's limit if it is available now.
func (l *Limiter) Allow(ctx context.Context, key string, limit Limit) (*Result, error) {
	return l.take(ctx, opAllow, key, limit, 1)
}

// AllowN takes n units of the key's limit if all are available now, or none. With n = 0 it takes nothing and returns the
// state. A refusal is a Result and not an error, also if n exceeds the burst.
func (l *Limiter) AllowN(ctx context.Context, key string, limit Limit, n int) (*Result, error) {
	return l.take(ctx, opAllow, key, limit, n)
}

// AllowAtMost takes as many whole units of the key's limit as are available now, up to n.
func (l *Limiter) AllowAtMost(ctx context.Context, key string, limit Limit, n int) (*Result, error) {
	if !limit.IsUnlimited() {
		n = min(n, max(limit.Burst, 1), maxCost)
	}
	return l.take(ctx, opAtMost, key, limit, n)
}

// Peek returns the state of the key's limit and takes nothing.
func (l *Limiter) Peek(ctx context.Context, key string, limit Limit) (*Result, error) {
	return l.take(ctx, opAllow, key, limit, 0)
}

func (l *Limiter) take(ctx context.Context, o op, key string, limit Limit, n int) (*Result, error) {
	if err := limit.check(n); err != nil && (!limit.IsUnlimited() || n <= 0) {
		return nil, &Error{Key: key, Limit: limit, Cost: n, Err: err}
	}
	if res := limit.constant(n); res != nil {
		l.cfg.Hooks.decided(ctx, key, res, n, true)
		return res, nil
	}
	e := l.entry(key)
	if n > 0 && e.refusal.Load() != nil {
		if res := l.refuseLocally(e, o, limit, n); res != nil {
			l.cfg.Hooks.decided(ctx, key, res, n, true)
			return res, nil
		}
	}
	var items [1]item
	items[0] = item{e: e, limit: limit, cost: n}
	t, err := l.submit(ctx, o, items[:], unbounded)
	if err != nil {
		return nil, &Error{Key: key, Limit: limit, Cost: n, Err: err}
	}
	res := new(Result)
	t.g.result(t.i, res)
	res.Limit = limit
	l.cfg.Hooks.decided(ctx, key, res, n, false)
	return res, nil
}

// refuseLocally answers a call that the cached refusal rules out. It returns nil if Redis must be asked.
func (l *Limiter) refuseLocally(e *entry, o op, limit Limit, n int) *Result {
	cost := n
	if o == opAtMost {
		cost = 1
	}
	units, refused := l.refused(e, &limit, cost)
	if !refused {
		return nil
	}
	res := &Result{Limit: limit}
	res.refuse(limit.seconds(), units, float64(cost))
	return res
}
