package main

import (
	"math"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/apisim"
)

// result is the JSON that a child process writes at the end.
type result struct {
	Calls      int64 `json:"calls"` // that have ended
	Succeeded  int64 `json:"succeeded"`
	Failed     int64 `json:"failed"`
	InTime     int64 `json:"in_time"` // calls that succeeded before "stop"
	Attempts   int64 `json:"attempts"`
	Throttled  int64 `json:"throttled"` // 429s, except those for lack of credit
	RedisCalls int64 `json:"redis_calls"`
	Missed     int64 `json:"missed"`
	// Waits are the times from the start of each call to its first attempt, in milliseconds, by priority.
	Waits map[string][]float64 `json:"waits"`
	Error string               `json:"error,omitempty"` // the first error of a call
}

// figures are the result of a run. -json prints them as JSON.
type figures struct {
	Run         string          `json:"run"`
	Elapsed     float64         `json:"elapsed_s"`
	Calls       int64           `json:"calls"`
	PerSecond   float64         `json:"calls_per_s"`
	Utilization float64         `json:"utilization"` // of the requests that the accounts with credit allow; requests are the bottleneck
	Tokens      float64         `json:"tokens_utilization"`
	Throttled   int64           `json:"throttled"`
	Share       float64         `json:"throttled_share"` // of the calls
	Fairness    float64         `json:"fairness"`        // Jain's index over processes
	Lost        int64           `json:"lost"`
	Doubled     int64           `json:"doubled"`
	Attempts    int64           `json:"attempts"`
	RedisCalls  float64         `json:"redis_calls_per_call"`
	Missed      int64           `json:"missed"`
	SlotMS      float64         `json:"slot_ms"`
	Waits       map[string]wait `json:"waits"`
	Accounts    []account       `json:"accounts"`
	Error       string          `json:"error,omitempty"`

	ours bool
}

// wait has the times that calls waited for their first attempt, in milliseconds.
type wait struct {
	Calls int     `json:"calls"`
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
}

// account has the provider's figures of one account.
type account struct {
	ID          string  `json:"id"`
	Admitted    int64   `json:"admitted"`
	Utilization float64 `json:"utilization"` // of the requests that other clients left
	Peak        int64   `json:"peak"`        // most requests within any window
	Limit       int64   `json:"limit"`
	Throttled   int64   `json:"throttled"`
	MostFlight  int     `json:"most_in_flight"`
}

// figuresOf combines the processes' results and the provider's ledgers: that at the end of the time and the last one.
func figuresOf(t *task, all []result, atStop, atEnd apisim.Ledger, elapsed time.Duration) *figures {
	f := &figures{
		Run: t.title(), Elapsed: elapsed.Seconds(), Doubled: atEnd.UnexplainedTwice, SlotMS: t.Scenario.slot().Seconds() * 1e3,
		Waits: map[string]wait{}, ours: !t.RedisRate,
	}
	waits := map[string][]float64{}
	var inTime []float64
	var redisCalls int64
	for _, r := range all {
		f.Calls += r.Calls
		f.Lost += r.Failed
		f.Throttled += r.Throttled
		f.Attempts += r.Attempts
		f.Missed += r.Missed
		redisCalls += r.RedisCalls
		inTime = append(inTime, float64(r.InTime))
		for name, w := range r.Waits {
			waits[name] = append(waits[name], w...)
		}
		if f.Error == "" {
			f.Error = r.Error
		}
	}
	for name, w := range waits {
		slices.Sort(w)
		f.Waits[name] = wait{len(w), quantile(w, 0.5), quantile(w, 0.95), quantile(w, 0.99)}
	}
	f.PerSecond = sum(inTime) / elapsed.Seconds()
	f.Fairness = jain(inTime)
	f.Share = float64(f.Throttled) / float64(max(f.Calls, 1))
	f.RedisCalls = float64(redisCalls) / float64(max(f.Calls, 1))
	for _, a := range atEnd.Accounts {
		f.Accounts = append(f.Accounts, accountOf(&a, atStop.Account(a.ID)))
	}
	if t.Scenario.Trouble {
		atStop.Accounts = slices.DeleteFunc(atStop.Accounts, func(a apisim.AccountLedger) bool { return a.ID == brokeAccount })
	}
	f.Utilization, f.Tokens = atStop.Utilization(apisim.Requests), atStop.Utilization(apisim.Tokens)
	return f
}

func accountOf(a *apisim.AccountLedger, atStop apisim.AccountLedger) account {
	out := account{
		ID: a.ID, Admitted: a.Admitted, Utilization: atStop.Utilization(apisim.Requests), MostFlight: a.MostInFlight,
		Throttled: a.Throttled[apisim.OverRequests] + a.Throttled[apisim.OverTokens] + a.Throttled[apisim.OverConcurrency],
	}
	for _, l := range a.Limits {
		if l.Metric == apisim.Requests {
			out.Peak, out.Limit = l.Peak, l.Limit
		}
	}
	return out
}

// jain is Jain's index of fairness (Jain, Chiu and Hawe 1984): 1 if all shares are equal, 1/n if one has all.
func jain(shares []float64) float64 {
	var squares float64
	for _, x := range shares {
		squares += x * x
	}
	if squares == 0 {
		return 0
	}
	total := sum(shares)
	return total * total / (float64(len(shares)) * squares)
}

func sum(xs []float64) float64 {
	total := 0.0
	for _, x := range xs {
		total += x
	}
	return total
}

// quantile returns the q-th quantile of sorted values by the nearest rank.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
