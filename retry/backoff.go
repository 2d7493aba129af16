package retry

import (
	"math"
	"time"
)

// Backoff returns the wait after the n-th failure (from 1; less counts as 1). It is a pure function. u, in [0, 1), is the
// random number for the jitter. prev is the previous backoff, which only DecorrelatedJitter uses. With
// c = min(Max, Base × Multiplier^(n-1)) the result is
//
//	FullJitter          u × c
//	DecorrelatedJitter  min(Max, Base + u × (3 × max(prev, Base) - Base))
//	NoJitter            c
//
// as in Marc Brooker's "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015) and "Timeouts, retries, and
// backoff with jitter" (Amazon Builders' Library), except that their full jitter starts from Base × 2.
//
// The result is between 0 and Max, and with DecorrelatedJitter between Base and Max. Zero fields of p have their defaults.
// p must be valid.
func Backoff(p Policy, n int, prev time.Duration, u float64) time.Duration {
	p = p.withDefaults()
	switch p.Jitter {
	case NoJitter:
		return ceiling(p, n)
	case DecorrelatedJitter:
		base := float64(p.Base)
		return capped(base+u*(3*float64(max(prev, p.Base))-base), p.Max)
	default:
		return time.Duration(u * float64(ceiling(p, n)))
	}
}

// ceiling returns Base × Multiplier^(n-1), at most Max.
func ceiling(p Policy, n int) time.Duration {
	return capped(float64(p.Base)*math.Pow(p.Multiplier, float64(max(n, 1)-1)), p.Max)
}

// capped converts nanoseconds to a duration of at most limit. It compares before it converts, because the conversion of a
// float above 2^63 is undefined.
func capped(ns float64, limit time.Duration) time.Duration {
	if ns < float64(limit) {
		return time.Duration(ns)
	}
	return limit
}

// pause returns the wait after the n-th failure, and the backoff drawn for it. The wait is at least the provider's floor, and
// the jitter is added to it. So clients with the same floor spread over the backoff's range, or a tenth of the floor (at
// most Max) if that is more.
func pause(p Policy, n int, prev, floor time.Duration, u float64) (wait, drawn time.Duration) {
	drawn = Backoff(p, n, prev, u)
	if floor <= 0 {
		return drawn, drawn
	}
	if p.Jitter == NoJitter {
		return max(floor, drawn), drawn
	}
	spread := max(drawn, time.Duration(u*float64(min(floor/10, p.Max))))
	if wait = floor + spread; wait < floor {
		wait = math.MaxInt64
	}
	return wait, drawn
}
