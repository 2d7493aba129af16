package report

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/penstock/penstock/caller"
)

// Summary has the figures of a run. -json prints it as a line of JSON.
type Summary struct {
	Requests    int64   `json:"requests"`
	Succeeded   int64   `json:"succeeded"`
	Failed      int64   `json:"failed"`
	Retries     int64   `json:"retries"`     // attempts that another one followed
	Throttled   int64   `json:"throttled"`   // 429s received
	Elapsed     float64 `json:"elapsed_s"`   // from the first request's start to the last one's end
	Utilization float64 `json:"utilization"` // of the limit that this process used most, 0 to 1
	P50         float64 `json:"p50_ms"`      // from sending to the response, of attempts that succeeded; without the wait for admission
	P95         float64 `json:"p95_ms"`
	P99         float64 `json:"p99_ms"`

	Attempts int64            `json:"-"`
	Missed   int64            `json:"-"` // send times that the process was too late for
	Limits   []Limit          `json:"-"`
	Keys     []Key            `json:"-"`
	Errors   map[string]int64 `json:"-"` // attempts that failed, by kind
}

// Limit is the utilization of a limit, over all accounts or keys that have it.
type Limit struct {
	Metric caller.Metric // or concurrency
	Limit  int64         // of each that has it
	Per    time.Duration // 0 for concurrency
	Scope  caller.LimitScope
	Used   float64 // share of what the limit allows in the time, 0 to 1
}

// Concurrency is the Metric of the limit on calls in flight.
const Concurrency caller.Metric = "concurrency"

// Summarize returns the figures of the elapsed time under the configuration's limits. The caller adds Requests, Succeeded
// and Failed.
func (t *Tally) Summarize(cfg caller.Config, elapsed time.Duration) Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	ms := func(percentile float64) float64 {
		return float64(t.latency.ValueAtPercentile(percentile)) / 1000
	}
	s := Summary{
		Attempts: t.attempts, Retries: t.retries, Throttled: t.throttled, Elapsed: round(elapsed.Seconds()),
		P50: ms(50), P95: ms(95), P99: ms(99), Errors: t.failures, Limits: t.limits(cfg, elapsed),
	}
	for _, l := range s.Limits {
		s.Utilization = max(s.Utilization, l.Used)
	}
	s.Utilization = round(s.Utilization)
	for _, k := range t.keys {
		s.Keys = append(s.Keys, *k)
	}
	slices.SortFunc(s.Keys, func(a, b Key) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

// round rounds to three decimals.
func round(x float64) float64 { return math.Round(x*1000) / 1000 }

// limits returns the utilization of the limits. It leaves out limits of some models, because the Tally doesn't count by
// model, and daily limits, because a run is too short.
func (t *Tally) limits(cfg caller.Config, elapsed time.Duration) (out []Limit) {
	if elapsed <= 0 {
		return nil
	}
	accounts := make(map[string]bool)
	for _, k := range cfg.Keys {
		accounts[cmp.Or(k.Account, k.ID)] = true
	}
	holders := map[caller.LimitScope]int{caller.PerAccount: len(accounts), caller.PerKey: len(cfg.Keys), caller.PerPool: 1}
	for _, l := range cfg.Limits {
		if len(l.Models) > 0 || l.Algorithm == caller.Daily {
			continue
		}
		scope := cmp.Or(l.Scope, caller.PerAccount)
		allowed := float64(l.Rate) * float64(holders[scope]) * elapsed.Seconds() / l.Period.Seconds()
		// In less than a period a burst can exceed the evenly allowed part.
		out = append(out, Limit{l.Metric, l.Rate, l.Period, scope, min(float64(t.charged[l.Metric])/allowed, 1)})
	}
	if cfg.Concurrency > 0 {
		allowed := float64(cfg.Concurrency) * float64(len(accounts)) * elapsed.Seconds()
		out = append(out, Limit{Concurrency, int64(cfg.Concurrency), 0, caller.PerAccount, min(t.busy.Seconds()/allowed, 1)})
	}
	return out
}
