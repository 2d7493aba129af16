package report_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/examples/internal/report"
)

var config = caller.Config{
	Keys: []caller.Key{{ID: "k1", Account: "org-a"}, {ID: "k2", Account: "org-b"}},
	Limits: []caller.Limit{
		{Metric: caller.Requests, Rate: 10, Period: time.Second},
		{Metric: caller.Tokens, Rate: 1000, Period: time.Second},
		{Metric: caller.Requests, Rate: 10, Period: time.Second, Scope: caller.PerPool},
		{Metric: caller.Requests, Rate: 20, Period: time.Second, Scope: caller.PerKey},
		{Metric: caller.Requests, Rate: 1, Period: time.Second, Models: []string{"m"}},
		{Metric: caller.Requests, Rate: 1, Algorithm: caller.Daily},
	},
	Concurrency: 5,
}

// sample returns the summary of ten attempts within a second.
func sample(t *testing.T) *report.Summary {
	t.Helper()
	tally := report.NewTally(config.Keys)
	hooks := tally.Hooks()
	for i := range 10 {
		req, err := http.NewRequest(http.MethodPost, "http://h", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		tally.Charge(req, func(_ *http.Request, body []byte) caller.Cost { return caller.Cost{caller.Tokens: int64(len(body))} })
		a := caller.Attempt{Key: "k1", Account: "org-a", Number: 1, Status: 200, Latency: time.Duration(i+1) * 10 * time.Millisecond}
		switch i {
		case 8:
			a.Status, a.Verdict.Outcome, a.Retrying = 503, caller.Overloaded, true
		case 9:
			a.Status, a.Verdict.Outcome = 429, caller.Throttled
		}
		hooks.Attempted(t.Context(), a)
	}
	hooks.Attempted(t.Context(), caller.Attempt{}) // got no key
	hooks.Disabled(t.Context(), caller.Block{Key: "k2", Reason: "invalid_api_key"})
	s := tally.Summarize(config, time.Second)
	s.Requests, s.Succeeded, s.Failed = 1009, 1008, 1
	return &s
}

// The summary counts attempts, retries and latencies of all hooks' calls.
func TestSummary_CountsAttempts(t *testing.T) {
	s := sample(t)
	if s.Attempts != 10 || s.Retries != 1 || s.Throttled != 1 || s.Utilization != 1 || s.Errors["503 overloaded"] != 1 {
		t.Errorf("%+v", s)
	}
	for got, want := range map[float64]float64{s.P50: 40, s.P95: 80, s.P99: 80} {
		if got < want*0.999 || got > want*1.001 {
			t.Errorf("a percentile is %v, want %v", got, want)
		}
	}
}

// Write writes the summary as aligned tables.
func TestSummary_WritesTables(t *testing.T) {
	var out bytes.Buffer
	sample(t).Write(&out)
	const want = `
1,009 requests: 1,008 succeeded, 1 failed, in 1.0 s

Calls
  throughput         1008.0/s
  attempts                 10
  retries                   1
  429s received             1
  send times missed         0

Latency, from sending to the response
  p50  40.0 ms
  p95  80.1 ms
  p99  80.1 ms

Utilization of the limits
  requests     10 per 1s     each account   50.0 %  ██████████··········
  tokens       1,000 per 1s  each account    2.0 %  ····················
  requests     10 per 1s     the pool      100.0 %  ████████████████████
  requests     20 per 1s     each key       25.0 %  █████···············
  concurrency  5 in flight   each account    5.5 %  █···················

Keys
  k1  org-a  10  100.0 %  ████████████████████
  k2  org-b   0    0.0 %  ····················  disabled: invalid_api_key

Attempts that failed
  429 throttled   1
  503 overloaded  1
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Without attempts the summary is one line.
func TestSummary_WithoutAttemptsIsOneLine(t *testing.T) {
	s := report.NewTally(config.Keys).Summarize(config, 0)
	var out bytes.Buffer
	if s.Write(&out); strings.Count(out.String(), "\n") != 2 {
		t.Errorf("got %s", out.String())
	}
}

// Count groups digits by commas.
func TestCount_GroupsDigits(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", 100000: "100,000"} {
		if got := report.Count(n); got != want {
			t.Errorf("Count(%d) = %s", n, got)
		}
	}
}
