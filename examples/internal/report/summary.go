package report

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/penstock/penstock/caller"
)

// Summary is a run in figures. Its JSON is the line that -json prints.
type Summary struct {
	Requests    int64   `json:"requests"`
	Succeeded   int64   `json:"succeeded"`
	Failed      int64   `json:"failed"`
	Retries     int64   `json:"retries"`     // attempts that were followed by another one
	Throttled   int64   `json:"throttled"`   // 429s received
	Elapsed     float64 `json:"elapsed_s"`   // from the first request's start to the last one's end
	Utilization float64 `json:"utilization"` // of the limit that was used most, by this process, 0 to 1
	P50         float64 `json:"p50_ms"`      // from sending to the answer, of attempts that succeeded; waiting not included
	P95         float64 `json:"p95_ms"`
	P99         float64 `json:"p99_ms"`

	Attempts int64            `json:"-"`
	Missed   int64            `json:"-"` // slots that went unused because the machine held the process up
	Limits   []Limit          `json:"-"`
	Keys     []Key            `json:"-"`
	Errors   map[string]int64 `json:"-"` // attempts that failed, by kind
}

// Limit is how far a limit was used, over all that have it.
type Limit struct {
	Metric caller.Metric // or concurrency
	Limit  int64         // of each that has it
	Per    time.Duration // 0 for concurrency
	Scope  caller.LimitScope
	Used   float64 // share of what the limit allows in the time, 0 to 1
}

// Concurrency names the limit on calls in flight beside the metrics.
const Concurrency caller.Metric = "concurrency"

// Summarize sums up what was counted in the elapsed time under the configuration's limits. The numbers of requests are
// the caller's to fill in.
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

// round keeps three decimals.
func round(x float64) float64 { return math.Round(x*1000) / 1000 }

// limits leaves out limits of some models only, since it isn't known which requests they count, and daily ones, of which
// a run says little.
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
		// What fits in less than a period may go at once.
		out = append(out, Limit{l.Metric, l.Rate, l.Period, scope, min(float64(t.charged[l.Metric])/allowed, 1)})
	}
	if cfg.Concurrency > 0 {
		allowed := float64(cfg.Concurrency) * float64(len(accounts)) * elapsed.Seconds()
		out = append(out, Limit{Concurrency, int64(cfg.Concurrency), 0, caller.PerAccount, min(t.busy.Seconds()/allowed, 1)})
	}
	return out
}
