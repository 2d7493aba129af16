package config

import (
	"math"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/retry"
)

const maxAttempts = 100

// retryDraft is a policy while it is read.
type retryDraft struct {
	retry.Policy

	attempts int64
	jitter   string
}

func (r *reader) retryFields(d *retryDraft) map[string]field {
	return map[string]field{
		"attempts": optional(r.count(&d.attempts, maxAttempts, "; 1 switches retrying off"),
			"Attempts of a call, the first included. Default: 5."),
		"base": optional(r.duration(&d.Base, time.Millisecond, time.Hour), "The ceiling of the first wait, 1ms to 1h. Default: 250ms."),
		"max":  optional(r.duration(&d.Max, time.Millisecond, 24*time.Hour), "The ceiling of any wait, 1ms to 24h. Default: 30s."),
		"multiplier": optional(r.number(&d.Multiplier, 1, 1000),
			"The factor by which the ceiling grows from one attempt to the next, 1 to 1000. Default: 2."),
		"jitter": optional(r.choice(&d.jitter, "full", "decorrelated", "none"),
			"How waits are drawn: full from 0 to the ceiling, decorrelated from base to three times the last wait, none at the ceiling. "+
				"Default: full."),
		"max_elapsed": optional(r.duration(&d.MaxElapsed, time.Millisecond, maxPeriod),
			"The latest start of an attempt, from the start of the call. Default: no limit."),
		"budget": optional(r.budget(&d.Budget), "Limits the retries of all calls of a process together. Default: no limit."),
	}
}

func (r *reader) retry(dst *retry.Policy) kind {
	read := func(n ast.Node, path string) {
		var d retryDraft
		before := len(r.problems)
		r.mapping(n, path, r.retryFields(&d))
		d.Attempts = int(d.attempts)
		d.Jitter = map[string]retry.Jitter{"decorrelated": retry.DecorrelatedJitter, "none": retry.NoJitter}[d.jitter]
		if len(r.problems) == before && d.Validate() != nil {
			r.problemf(n, path, "base must not be above max (defaults: %v, %v)", retry.DefaultBase, retry.DefaultMax)
		}
		*dst = d.Policy
	}
	return kind{read, mappingJSON(r.retryFields(new(retryDraft)))}
}

func (r *reader) budgetFields(share, perSecond *float64) map[string]field {
	return map[string]field{
		"share":      required(r.number(share, 0, 1), "Retries as a share of first attempts, 0 to 1. 0.1 is a good start."),
		"per_second": required(r.number(perSecond, 0, 1e9), "Retries a second that are always allowed. 1 is a good start."),
	}
}

func (r *reader) budget(dst **retry.Budget) kind {
	read := func(n ast.Node, path string) {
		share, perSecond := math.NaN(), math.NaN()
		r.mapping(n, path, r.budgetFields(&share, &perSecond))
		if b, err := retry.NewBudget(share, perSecond); err == nil { // else reported before
			*dst = b
		}
	}
	return kind{read, mappingJSON(r.budgetFields(new(float64), new(float64)))}
}

func (r *reader) breakerFields(failures *int64, openFor *time.Duration) map[string]field {
	return map[string]field{
		"failure_threshold": required(r.count(failures, math.MaxInt32, "; leave the breaker out to switch it off"),
			"Failures in a row that open the circuit."),
		"open_for": optional(r.duration(openFor, time.Millisecond, 24*time.Hour),
			"The time from opening until one call tries again, 1ms to 24h. Default: 5s."),
	}
}

func (r *reader) hedgeFields(h *caller.Hedge) map[string]field {
	return map[string]field{
		"after": required(r.duration(&h.After, time.Millisecond, 24*time.Hour),
			"The wait for the first request, 1ms to 24h, best the 95th percentile of latency. With percentile, the least wait."),
		"percentile": optional(r.number(&h.Percentile, 0.5, 0.999),
			"The share of recent calls whose latency is below the wait, 0.5 to 0.999. Default: after alone counts."),
	}
}

func (r *reader) hedge(h *caller.Hedge) kind { return r.group(r.hedgeFields(h)) }

func (r *reader) breaker(failures *int64, openFor *time.Duration) kind {
	return r.group(r.breakerFields(failures, openFor))
}
