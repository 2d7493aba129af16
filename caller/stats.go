package caller

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
)

// Stats is what a Caller did since New.
type Stats struct {
	Calls             int64 // calls begun
	CallsSucceeded    int64
	CallsFailed       int64
	Attempts          int64 // attempts sent
	AttemptsThrottled int64 // attempts that the provider answered with a limit exceeded
	// Missed counts slots given up because this process was held up beyond the slack.
	SlotsMissed int64
	// Blocked is how long calls of this process waited for each constraint: a metric's name, "concurrency" or
	// "cooldown". It is time on the clock, not a sum over calls.
	BlockedBy map[string]time.Duration
	// Binding is the constraint that held calls back for more than half the time since the first call, if there is one.
	Bottleneck string
	// Calibration is what the prompt's part of estimates is multiplied by, by model; of models without enough answers it
	// has nothing. See Profile.Calibrated.
	PromptRatios map[string]float64
	// Waiting is how many calls wait for admission now, and InFlight how many are admitted and not over.
	CallsWaiting, CallsInFlight int
}

// Names of constraints that aren't metrics.
const (
	ConstraintConcurrency = "concurrency"
	ConstraintCooldown    = "cooldown"
)

// stats counts calls and attempts. It is safe for concurrent use.
type stats struct {
	calls, succeeded, failed, attempts, throttled atomic.Int64

	first sync.Once
	since atomic.Pointer[time.Time] // the first call; nil: there was none
}

func (s *stats) call() {
	s.calls.Add(1)
	s.first.Do(func() {
		now := time.Now()
		s.since.Store(&now)
	})
}

func (s *stats) attempt(v Verdict) {
	s.attempts.Add(1)
	if v.Outcome == Throttled {
		s.throttled.Add(1)
	}
}

func (s *stats) end(ok bool) {
	if ok {
		s.succeeded.Add(1)
	} else {
		s.failed.Add(1)
	}
}

func (s *stats) read() Stats {
	return Stats{
		Calls: s.calls.Load(), CallsSucceeded: s.succeeded.Load(), CallsFailed: s.failed.Load(),
		Attempts: s.attempts.Load(), AttemptsThrottled: s.throttled.Load(),
	}
}

// blockedBy returns the time for which calls waited by the constraints' names, and the one that held calls back for more
// than half the time since the first call.
func (c *Pool) blockedBy(total map[int]time.Duration) (byName map[string]time.Duration, bottleneck string) {
	byName = make(map[string]time.Duration, len(total))
	for constraint, d := range total {
		byName[c.plan.constraintName(constraint)] += d
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
