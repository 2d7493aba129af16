package caller

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
	"github.com/penstock/penstock/caller/internal/history"
)

// Stats is what a Pool did since New.
type Stats struct {
	Calls             int64 // calls begun
	CallsSucceeded    int64 // calls that ended without an error
	CallsFailed       int64 // calls that ended with an error
	Attempts          int64 // attempts sent
	AttemptsThrottled int64 // attempts that exceeded a limit of the provider
	// SlotsMissed is the number of send times that calls gave up because this process was late by more than
	// Tuning.ArrivalJitter allows.
	SlotsMissed int64
	// BlockedBy is the time for which calls of this process waited, by constraint: a metric's name, ConstraintConcurrency or
	// ConstraintCooldown. It is time on the clock and not a sum over calls.
	BlockedBy map[string]time.Duration
	// Bottleneck is the constraint that calls waited for during more than half of the time since the first call. Empty if
	// there is none.
	Bottleneck string
	// PromptRatios is the factor of the prompt's part of estimates, by model. A model without enough responses is missing.
	// See Profile.Calibrated.
	PromptRatios map[string]float64
	// CallsWaiting is the number of calls that wait for admission now. CallsInFlight is the number of calls that are
	// admitted and not over.
	CallsWaiting, CallsInFlight int
}

// Constraints that are no metrics.
const (
	ConstraintConcurrency = "concurrency"
	ConstraintCooldown    = "cooldown"
)

// stats counts calls and attempts. It is safe for concurrent use.
type stats struct {
	calls, succeeded, failed, attempts, throttled atomic.Int64

	first sync.Once
	since atomic.Pointer[time.Time] // the first call; nil: there was none

	history history.History
}

// call counts a call that begins, and returns when it does.
func (s *stats) call() time.Time {
	now := time.Now()
	s.calls.Add(1)
	s.first.Do(func() { s.since.Store(&now) })
	return now
}

func (s *stats) attempt(v Verdict) {
	now := time.Now()
	s.attempts.Add(1)
	s.history.Add(now, history.Attempts)
	if v.Outcome == Throttled {
		s.throttled.Add(1)
		s.history.Add(now, history.Throttled)
	}
}

// end counts a call that began at a time and ends now.
func (s *stats) end(begun time.Time, ok bool) {
	now := time.Now()
	if ok {
		s.succeeded.Add(1)
		s.history.Add(now, history.Succeeded)
		s.history.Took(now, now.Sub(begun))
	} else {
		s.failed.Add(1)
		s.history.Add(now, history.Failed)
	}
}

func (s *stats) read() Stats {
	return Stats{
		Calls: s.calls.Load(), CallsSucceeded: s.succeeded.Load(), CallsFailed: s.failed.Load(),
		Attempts: s.attempts.Load(), AttemptsThrottled: s.throttled.Load(),
	}
}

// blockedBy returns the time for which calls waited, by the constraint's name, and the constraint that they waited for
// during more than half of the time since the first call.
func (c *Pool) blockedBy(total map[int]time.Duration) (byName map[string]time.Duration, bottleneck string) {
	byName = make(map[string]time.Duration, len(total))
	for constraint, d := range total {
		byName[c.settings.constraintName(constraint)] += d
	}
	since := c.stats.since.Load()
	for name, d := range byName {
		if since != nil && d > time.Since(*since)/2 {
			bottleneck = name
		}
	}
	return byName, bottleneck
}

// constraintName returns the name of a constraint of admission.
func (p *settings) constraintName(constraint int) string {
	switch constraint {
	case admission.ConstraintPermits:
		return ConstraintConcurrency
	case admission.ConstraintCooldown:
		return ConstraintCooldown
	default:
		return string(p.Limits[constraint].Metric)
	}
}
