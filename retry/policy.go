package retry

import (
	"cmp"
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

// Policy bounds and spaces the attempts of a call. The zero Policy is ready for use: five attempts, full jitter below a
// ceiling that starts at 250 ms and doubles up to 30 s. A Policy may be shared by any number of calls.
type Policy struct {
	// Attempts is how many times a call is made at most, the first included. Defaults to 5; 1 switches retrying off.
	Attempts int
	// Base is the backoff's ceiling after the first attempt, and with DecorrelatedJitter its least value. Defaults to
	// 250 ms.
	Base time.Duration
	// Max is the highest backoff. What a provider asks for with Retry-After isn't cut to it. Defaults to 30 s, or to
	// Base where that is more.
	Max time.Duration
	// Multiplier is what the backoff's ceiling grows by from one attempt to the next; at least 1. DecorrelatedJitter
	// doesn't use it. Defaults to 2.
	Multiplier float64
	// Jitter is how waits are spread. Defaults to FullJitter.
	Jitter Jitter
	// MaxElapsed is the latest moment, from the beginning of the call, at which an attempt may start. Defaults to 0: no
	// limit beyond the context's deadline.
	MaxElapsed time.Duration
	// Budget limits the retries of all calls that share it. Defaults to nil: no limit.
	Budget *Budget
	// Worth says whether an error that carries no hint is worth another attempt. Defaults to the function Worth.
	Worth func(error) bool
	// OnRetry is called after an attempt that failed and before the wait for the next one; not after the last attempt.
	// It runs on the goroutine of the call and must return quickly. Optional.
	OnRetry func(Event)
}

// Jitter is how waits are spread, so that clients that failed together don't come back together.
type Jitter int

const (
	// FullJitter draws evenly between nothing and the ceiling.
	FullJitter Jitter = iota
	// DecorrelatedJitter draws evenly between Base and three times the wait before.
	DecorrelatedJitter
	// NoJitter waits exactly the ceiling. It is for a client that is alone, and for tests.
	NoJitter
)

// Validate says which field is out of range, and what it may be. The zero Policy is valid.
func (p Policy) Validate() error {
	switch {
	case p.Attempts < 0:
		return fmt.Errorf("retry: Attempts is %d: use 1 to never try again, or 0 for the default of %d", p.Attempts, DefaultAttempts)
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

// withDefaults returns p with every default in place.
func (p Policy) withDefaults() Policy {
	p.Attempts = cmp.Or(p.Attempts, DefaultAttempts)
	p.Base = cmp.Or(p.Base, DefaultBase)
	p.Max = cmp.Or(p.Max, max(DefaultMax, p.Base))
	p.Multiplier = cmp.Or(p.Multiplier, DefaultMultiplier)
	if p.Worth == nil {
		p.Worth = Worth
	}
	return p
}
