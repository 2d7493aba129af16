package ratelimit

import (
	"fmt"
	"math"
	"time"
)

// Limit is a rate limit: Rate units per Period, and up to Burst units at once. All three must be at least 1. PerSecond,
// PerMinute, PerHour and Window return valid limits.
type Limit struct {
	Rate   int
	Burst  int
	Period time.Duration
}

// PerSecond returns a limit of rate units per second, with a burst of the same size.
func PerSecond(rate int) Limit { return Limit{Rate: rate, Burst: rate, Period: time.Second} }

// PerMinute returns a limit of rate units per minute, with a burst of the same size. The first minute admits almost twice
// the rate: the burst, and the units that refill meanwhile. Window returns a limit that holds in any minute.
func PerMinute(rate int) Limit { return Limit{Rate: rate, Burst: rate, Period: time.Minute} }

// PerHour returns a limit of rate units per hour, with a burst of the same size. The first hour admits almost twice the
// rate, as with PerMinute.
func PerHour(rate int) Limit { return Limit{Rate: rate, Burst: rate, Period: time.Hour} }

// Window returns a limit that admits at most n units in any half-open window of the given length. slack is the largest
// difference between the delays of two units on their way to the counter.
//
// A Limit admits burst + t/interval units in any time t. So n+1 units take at least (n+1-burst)·interval. Units admitted
// window+slack apart arrive at least one window apart. Therefore the interval is
//
//	(window + slack) / (n - burst + 1)
//
// A burst of 1 costs no throughput, a burst of n nearly all of it. Choose a small burst, but not smaller than the largest
// cost. The slack costs slack/(window+slack) of the quota: little for a minute, much for a second. The interval is 0.2 µs
// longer, which is the precision of the state.
//
// burst must be from 1 to n, window positive, and slack not negative. Otherwise every method refuses the returned limit
// with ErrInvalid.
func Window(n int, window time.Duration, burst int, slack time.Duration) Limit {
	if n < 1 || burst < 1 || burst > n || window <= 0 || slack < 0 || slack > math.MaxInt64-window {
		return Limit{Rate: n - burst + 1, Burst: burst}
	}
	rate := n - burst + 1
	period := window + slack
	precision := min(time.Duration(rate)*200*time.Nanosecond, period/200)
	return Limit{Rate: rate, Burst: burst, Period: period + precision}
}

// Interval returns the emission interval: the time in which one unit refills. It is 0 for an invalid limit, and for one
// of more than 10^9 units per second.
func (l Limit) Interval() time.Duration {
	if l.Rate < 1 {
		return 0
	}
	return l.Period / time.Duration(l.Rate)
}

// IsZero reports whether l is the zero Limit.
func (l Limit) IsZero() bool { return l == Limit{} }

// String returns the limit as text, such as "10 req/s (burst 10)".
func (l Limit) String() string {
	per := l.Period.String()
	switch l.Period {
	case time.Second:
		per = "s"
	case time.Minute:
		per = "m"
	case time.Hour:
		per = "h"
	}
	return fmt.Sprintf("%d req/%s (burst %d)", l.Rate, per, l.Burst)
}

// seconds returns the emission interval in seconds.
func (l *Limit) seconds() float64 { return float64(l.Period) / 1e9 / float64(l.Rate) }

// maxRefill is the longest time that a burst may take to refill. Redis' text and a Duration can both hold it.
const maxRefill = 100 * 365 * 24 * time.Hour

// Validate returns nil, or an error that wraps ErrInvalid and says what is wrong.
func (l Limit) Validate() error {
	switch {
	case l.Rate < 1:
		return fmt.Errorf("%w: rate is %d, must be at least 1", ErrInvalid, l.Rate)
	case l.Burst < 1:
		return fmt.Errorf("%w: burst is %d, must be at least 1", ErrInvalid, l.Burst)
	case l.Period <= 0:
		return fmt.Errorf("%w: period is %v, must be positive", ErrInvalid, l.Period)
	case float64(l.Period)*float64(l.Burst) > float64(maxRefill)*float64(l.Rate):
		return fmt.Errorf("%w: %v takes more than %v to refill: use a shorter period or a smaller burst",
			ErrInvalid, l, maxRefill)
	}
	return nil
}

// maxCost is the largest cost that a double represents exactly.
const maxCost = 1 << 52

// check returns an error for an invalid limit or cost.
func (l *Limit) check(n int) error {
	if l.Rate < 1 || l.Burst < 1 || l.Period <= 0 || float64(l.Period)*float64(l.Burst) > float64(maxRefill)*float64(l.Rate) {
		return l.Validate()
	}
	return checkCost(n)
}

func checkCost(n int) error {
	if uint(n) <= maxCost {
		return nil
	}
	return fmt.Errorf("%w: cost is %d, must be from 0 to 2^52", ErrInvalid, n)
}
