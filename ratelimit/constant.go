package ratelimit

import (
	"context"
	"math"
	"slices"
)

// constant returns the answer to a call for n units if it is the same at all times; else nil.
func (l *Limit) constant(n int) *Result {
	switch {
	case l.IsUnlimited():
		return &Result{Limit: *l, Allowed: n, Remaining: math.MaxInt, RetryAfter: -1}
	case !l.IsBlocked():
		return nil
	case n == 0:
		return &Result{Limit: *l, RetryAfter: -1}
	default:
		return &Result{Limit: *l, RetryAfter: math.MaxInt64}
	}
}

// hasConstant reports whether a limit of the charges is unlimited or blocked.
func hasConstant(charges []Charge) bool {
	return slices.ContainsFunc(charges, func(c Charge) bool { return c.Limit.IsUnlimited() || c.Limit.IsBlocked() })
}

// withoutConstant returns the charges whose limits Redis keeps, with their indices, and the index of a charge that is
// blocked; -1 if there is none.
func withoutConstant(charges []Charge) (rest []Charge, index []int, blocked int, err error) { //nolint:revive // one pass over the charges
	blocked = -1
	for i, c := range charges {
		if err := checkCost(c.Cost); err != nil {
			return nil, nil, 0, failure(charges, i, err)
		}
		switch {
		case c.Limit.IsUnlimited():
		case !c.Limit.IsBlocked():
			rest, index = append(rest, c), append(index, i)
		case c.Cost > 0 && blocked < 0:
			blocked = i
		}
	}
	return rest, index, blocked, nil
}

// admitConstant is Admit for charges of which some are unlimited or blocked.
func (l *Limiter) admitConstant(ctx context.Context, charges []Charge) (*Admission, error) {
	rest, index, blocked, err := withoutConstant(charges)
	if err != nil {
		return nil, err
	}
	a := &Admission{Allowed: true, Refused: -1, RetryAfter: -1}
	switch {
	case blocked >= 0:
		a = &Admission{Refused: blocked, RetryAfter: math.MaxInt64}
		l.cfg.Hooks.decidedAll(ctx, charges, a, true)
	case len(rest) > 0:
		if a, err = l.Admit(ctx, rest...); err != nil {
			return nil, err
		}
		if a.Refused >= 0 {
			a.Refused = index[a.Refused]
		}
	}
	return a, nil
}
