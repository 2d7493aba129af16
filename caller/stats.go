package caller

import (
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
)

// Stats is what a Pool did since New. Its memory doesn't grow.
type Stats struct {
	Calls             int64 // calls begun
	CallsSucceeded    int64 // calls that ended without an error
	CallsFailed       int64 // calls that ended with an error
	Attempts          int64 // attempts sent
	AttemptsThrottled int64 // attempts that exceeded a limit of the provider
	// CallsRefused is the number of failed calls that got no key, by reason. A reason without calls is missing.
	// With Config.Shadow, it is the number of attempts that would have been refused.
	CallsRefused map[RefusalReason]int64
	// SlotsMissed is the number of send times that calls gave up because this process was late by more than
	// Tuning.ArrivalJitter allows.
	SlotsMissed int64
	// CallLatency is the time from a call's beginning to its result, waits included. AttemptLatency is the time from sending
	// an attempt to its result; with Transport, to the end of the response's headers. AdmissionWait is the time from the
	// request for admission to the send time.
	CallLatency, AttemptLatency, AdmissionWait Quantiles
	// Charged is what admitted calls were charged, as estimated, for each metric that a limit counts. A retry is charged
	// again.
	Charged Cost
	// Used is what responses, or Grant.Settle, reported that calls cost, for each metric that was reported. UsedPartial is
	// the part of it that is from responses which were cut short. Usage that the pool doesn't read is missing: it reads the
	// usage if a limit depends on it or Hooks.UsageRead is set.
	Used, UsedPartial Cost
	// BlockedBy is the time for which calls of this process waited, by constraint: a metric's name, ConstraintConcurrency or
	// ConstraintCooldown. It is time on the clock and not a sum over calls.
	BlockedBy map[string]time.Duration
	// Bottleneck is the constraint that calls waited for during more than half of the time since the first call. Empty if
	// there is none.
	Bottleneck string
	// PromptRatios is the factor of the prompt's part of estimates, by model. A model without enough responses is missing.
	// See Profile.Calibrated.
	PromptRatios map[string]float64
	// ScriptCalls is the number of script calls, and ScriptCallsFailed that of those that had no reply.
	ScriptCalls, ScriptCallsFailed int64
	// StatesLost is the number of times that Redis was found to have lost writes.
	StatesLost int64
	// RedisFailing is the time in which every script call failed.
	RedisFailing time.Duration
	// LimitsVersion is the version of the limits, set by SetLimits, that this process follows; 0: those of Config.
	LimitsVersion int64
	// CallsWaiting is the number of calls that wait for admission now. CallsInFlight is the number of calls that are
	// admitted and not over.
	CallsWaiting, CallsInFlight int
}

// Constraints that are no metrics.
const (
	ConstraintConcurrency = "concurrency"
	ConstraintCooldown    = "cooldown"
)

// Stats returns what the Pool did so far.
func (c *Pool) Stats() Stats {
	s := c.stats.read(c.settings.metrics)
	s.PromptRatios = c.settings.ratios.All()
	its := c.admission.Stats()
	s.CallsWaiting, s.CallsInFlight, s.SlotsMissed = its.Waiting, its.InFlight, its.SlotsMissed
	s.ScriptCalls, s.ScriptCallsFailed, s.StatesLost, s.RedisFailing = its.ScriptCalls, its.ScriptCallsFailed, its.StatesLost, its.RedisFailing
	s.LimitsVersion = its.LimitsVersion
	s.BlockedBy, s.Bottleneck = c.blockedBy(its.BlockedBy)
	return s
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
