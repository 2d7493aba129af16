package retry

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"time"
)

// Defaults of a Policy.
const (
	DefaultAttempts   = 5
	DefaultBase       = 250 * time.Millisecond
	DefaultMax        = 30 * time.Second
	DefaultMultiplier = 2
)

// Policy decides on the number of a call's attempts and the waits between them. The zero Policy makes five attempts, with full
// jitter below a ceiling that starts at 250 ms and doubles up to 30 s. Any number of calls may share a Policy.
type Policy struct {
	// Attempts is the highest number of attempts, the first included. Attempts without an effect don't count (see
	// Hint.Uncounted); the backoff after them stays below that before the last attempt, or before the fifth if that is more. At
	// least 1, which switches all retries off. Defaults to 5.
	Attempts int
	// Base is the backoff's ceiling after the first attempt, and with DecorrelatedJitter its lowest value. More than 0, at most
	// Max. Defaults to 250 ms.
	Base time.Duration
	// Max is the highest backoff. It doesn't shorten a Retry-After. At least Base. Defaults to 30 s, or to Base if that is more.
	Max time.Duration
	// Multiplier is the factor by which the backoff's ceiling grows from attempt to attempt. At least 1. DecorrelatedJitter
	// doesn't use it. Defaults to 2.
	Multiplier float64
	// Jitter is the distribution of waits. Defaults to FullJitter.
	Jitter Jitter
	// MaxElapsed is the time since the beginning of the call after which no attempt starts. Not negative. Defaults to 0: no
	// limit besides the context's deadline.
	MaxElapsed time.Duration
	// Budget limits the retries of all calls that share it. Defaults to nil: no limit.
	Budget *Budget
	// Retryable reports whether an error without a Hint allows another attempt. Defaults to the function Retryable.
	Retryable func(error) bool
	// Hooks observe the attempts. Optional.
	Hooks Hooks
}

// Hooks observe the calls of a Policy. Each is optional. A hook runs on the call's goroutine, has the call's context, and
// must return quickly.
type Hooks struct {
	// Retried is called after a failed attempt that another one follows, before the wait for it.
	Retried func(context.Context, Event)
}

// Jitter is the distribution of waits. It spreads the retries of clients that failed together.
type Jitter int

// Values of Jitter.
const (
	// FullJitter is uniform between 0 and the ceiling.
	FullJitter Jitter = iota
	// DecorrelatedJitter is uniform between Base and three times the previous backoff.
	DecorrelatedJitter
	// NoJitter is exactly the ceiling. It is for a single client, and for tests.
	NoJitter
)

// Validate returns an error that names a field out of range and its range. The zero Policy is valid.
func (p Policy) Validate() error {
	switch {
	case p.Attempts < 0:
		return fmt.Errorf("retry: Attempts is %d: use 1 for no retries, or 0 for the default of %d", p.Attempts, DefaultAttempts)
	case p.Base < 0:
		return fmt.Errorf("retry: Base is %v: use a positive duration, or 0 for the default of %v", p.Base, DefaultBase)
	case p.Max < 0:
		return fmt.Errorf("retry: Max is %v: use a positive duration, or 0 for the default of %v", p.Max, DefaultMax)
	case p.Max > 0 && cmp.Or(p.Base, DefaultBase) > p.Max:
		return fmt.Errorf("retry: Base %v is above Max %v: lower Base or raise Max", cmp.Or(p.Base, DefaultBase), p.Max)
	case p.Multiplier != 0 && !(p.Multiplier >= 1 && p.Multiplier <= math.MaxFloat64):
		return fmt.Errorf("retry: Multiplier is %v: use at least 1, or 0 for the default of %d", p.Multiplier, DefaultMultiplier)
	case p.MaxElapsed < 0:
		return fmt.Errorf("retry: MaxElapsed is %v: use a positive duration, or 0 for no limit", p.MaxElapsed)
	case p.Jitter < FullJitter || p.Jitter > NoJitter:
		return fmt.Errorf("retry: Jitter is %d: use FullJitter, DecorrelatedJitter or NoJitter", p.Jitter)
	}
	return nil
}

// withDefaults returns p with its defaults.
func (p Policy) withDefaults() Policy {
	p.Attempts = cmp.Or(p.Attempts, DefaultAttempts)
	p.Base = cmp.Or(p.Base, DefaultBase)
	p.Max = cmp.Or(p.Max, max(DefaultMax, p.Base))
	p.Multiplier = cmp.Or(p.Multiplier, DefaultMultiplier)
	if p.Retryable == nil {
		p.Retryable = Retryable
	}
	return p
}
