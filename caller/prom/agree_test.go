package prom_test

import (
	"bytes"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/prom"
	"github.com/penstock/penstock/caller/status"
	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// The figures that are scraped, those of Stats and of the status page's JSON, and the provider's ledger agree within 1 %.
func TestMetrics_AgreeWithStatsPageAndLedger(t *testing.T) {
	t.Parallel()
	f := newFleet(t, redistest.Client(t), prom.Config{})
	const requests = 600
	ok := f.run(t, requests)
	admitted, tokens, overloaded := ledger(f.sim)
	var calls, attempts, used, charged int64
	for _, c := range f.pools {
		s := c.Stats()
		calls, attempts = calls+s.CallsSucceeded, attempts+s.Attempts
		used, charged = used+s.Used[caller.Tokens], charged+s.Charged[caller.Tokens]
	}
	got := gather(t, f.registry)
	for _, row := range []struct {
		what          string
		scraped, want float64
	}{
		{"calls that succeeded, and the clients' count", got.sum(t, "penstock_calls_total", "outcome", "success"), float64(ok)},
		{"calls that succeeded, and Stats", got.sum(t, "penstock_calls_total", "outcome", "success"), float64(calls)},
		{"call durations", got.sum(t, "penstock_call_duration_seconds"), requests},
		{"attempts, and Stats", got.sum(t, "penstock_attempts_total"), float64(attempts)},
		{"attempts, and the ledger", got.sum(t, "penstock_attempts_total"), float64(admitted)},
		{"retries, and the ledger's failures", got.sum(t, "penstock_retries_total"), float64(overloaded)},
		{"attempts held to their end", got.sum(t, "penstock_attempt_held_seconds"), float64(attempts)},
		{"waits", got.sum(t, "penstock_admission_wait_seconds"), float64(attempts)},
		{"tokens charged, and the ledger", got.sum(t, "penstock_charged_units_total", "metric", "tokens"), float64(tokens)},
		{"tokens charged, and Stats", got.sum(t, "penstock_charged_units_total", "metric", "tokens"), float64(charged)},
		{"tokens used, and Stats", got.sum(t, "penstock_used_units_total", "metric", "tokens"), float64(used)},
	} {
		if math.Abs(row.scraped-row.want) > 0.01*row.want {
			t.Errorf("%s: got %v, want %v", row.what, row.scraped, row.want)
		}
	}
	testkit.Eventually(t, "the page has all calls", func() bool {
		s, err := status.Read(t.Context(), f.pools[0])
		return err == nil && s.Last.Succeeded == ok && s.Last.Attempts == attempts
	})
}

// ledger returns what the provider counted: attempts, tokens of the attempts, and injected failures.
func ledger(sim *apisim.Server) (attempts, tokens, failures int64) {
	for _, a := range sim.Ledger().Accounts {
		attempts, tokens = attempts+a.Admitted, tokens+a.Tokens
		for _, n := range a.Failures {
			failures += n
		}
	}
	return attempts, tokens, failures
}

// No secret is exported, in any format, and the label of every series is a bounded one.
func TestMetrics_ExportNoSecret(t *testing.T) {
	t.Parallel()
	f := newFleet(t, redistest.Client(t), prom.Config{})
	f.run(t, 30)
	server := httptest.NewServer(promhttp.HandlerFor(f.registry, promhttp.HandlerOpts{}))
	defer server.Close()
	for _, accept := range []string{"text/plain", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", accept)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		_, err = text.ReadFrom(res.Body)
		_ = res.Body.Close()
		if err != nil || !bytes.Contains(text.Bytes(), []byte("penstock_calls_total")) {
			t.Fatalf("%s: got %d bytes, %v", accept, text.Len(), err)
		}
		if bytes.Contains(text.Bytes(), []byte("sk-canary")) {
			t.Errorf("%s: a secret is exported", accept)
		}
	}
}
