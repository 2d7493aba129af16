package ratelimit

import (
	"fmt"
	"math"
	"time"
)

// Limit is how often something may happen: Rate times per Period, and up to Burst times at once. All three must be at
// least 1; PerSecond, PerMinute, PerHour and Window make limits that are right.
type Limit struct {
	Rate   int
	Burst  int
	Period time.Duration
}

// PerSecond returns a limit of rate per second, all of which may be used at once.
func PerSecond(rate int) Limit { return Limit{Rate: rate, Burst: rate, Period: time.Second} }

// PerMinute returns a limit of rate per minute, all of which may be used at once. The first minute may then see almost
// twice the rate: the burst, and what flows in after it. See Window for a limit that can't be exceeded in any minute.
func PerMinute(rate int) Limit { return Limit{Rate: rate, Burst: rate, Period: time.Minute} }

// PerHour returns a limit of rate per hour, all of which may be used at once. What PerMinute says of the first minute
// holds for the first hour.
func PerHour(rate int) Limit { return Limit{Rate: rate, Burst: rate, Period: time.Hour} }

// Window returns the limit that keeps to at most n units in any half-open window of the given length, wherever the
// window lies, for a counter that is reached up to slack later by one unit than by another.
//
// Within burst + t/interval units in any time t, which is what a Limit admits, n+1 units take at least
// (n+1-burst)·interval. Units that are admitted window+slack apart arrive at least one window apart. So the interval is
//
//	(window + slack) / (n - burst + 1)
//
// and a burst of 1 loses nothing to it, a burst of n nearly everything: choose a small one, but not smaller than the
// largest cost. The slack costs slack/(window+slack) of the quota: little of a minute, much of a second. The interval
// is longer by 0.2 µs, the precision of the state.
//
// burst must be from 1 to n, window positive and slack not negative; else the result is a Limit that every method
// refuses with ErrInvalid.
func Window(n int, window time.Duration, burst int, slack time.Duration) Limit {
	if n < 1 || burst < 1 || burst > n || window <= 0 || slack < 0 || slack > math.MaxInt64-window {
		return Limit{Rate: n - burst + 1, Burst: burst}
	}
	rate := n - burst + 1
	period := window + slack
	precision := min(time.Duration(rate)*200*time.Nanosecond, period/200)
	return Limit{Rate: rate, Burst: burst, Period: period + precision}
}

// Interval is the emission interval: the time in which one unit flows in. It is 0 for an invalid limit, and for one
// of more than 10^9 units per second.
func (l Limit) Interval() time.Duration {
	if l.Rate < 1 {
		return 0
	}
	return l.Period / time.Duration(l.Rate)
}

// IsZero reports whether l is the zero Limit.
func (l Limit) IsZero() bool { return l == Limit{} }

// String returns the limit in words, such as "10 req/s (burst 10)".
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

// seconds is the emission interval as the script takes it.
func (l *Limit) seconds() float64 { return float64(l.Period) / 1e9 / float64(l.Rate) }

// maxRefill is the maxRefill time that a burst may take to flow in: what Redis keeps as text and a Duration can hold.
const maxRefill = 100 * 365 * 24 * time.Hour

// Validate returns nil, or an error that says what is wrong and wraps ErrInvalid.
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

// maxCost is the largest cost that a double reckons with exactly.
const maxCost = 1 << 52

// check returns an error for a limit or a cost that makes no sense.
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
