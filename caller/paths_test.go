package caller_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	profiles "github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// The secret is in requests only, also on paths that are off by default, for operators, and in the Transport's
// responses.
func TestSecret_IsOnlyInRequestsOnOptionalPaths(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var out transcript
	monitored := monitor(t, server)
	sent := make(chan string, 1000)
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case sent <- r.Header.Get("X-Api-Key"):
		default:
		}
		switch r.URL.Path {
		case "/slow":
			select {
			case <-time.After(50 * time.Millisecond):
			case <-r.Context().Done():
			}
			fallthrough
		case "/fine":
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Anthropic-Ratelimit-Requests-Limit", "100000")
			w.Header().Set("Anthropic-Ratelimit-Requests-Remaining", "7")
			_, _ = io.WriteString(w, `{"usage":{"input_tokens":25,"output_tokens":15}}`)
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer provider.Close()
	rdb := server.Client(t)
	cfg := func(change ...func(*caller.Config)) func(*caller.Config) {
		return func(cfg *caller.Config) {
			quick(cfg)
			cfg.Keys = []caller.Key{{ID: "k", Secret: caller.NewSecret(canary)}, {ID: "l", Secret: caller.NewSecret(canary + "2")}}
			cfg.Limits = []caller.Limit{{Metric: caller.Requests, Rate: 100_000, Period: time.Minute}}
			cfg.Profile = profiles.Anthropic()
			cfg.Breaker.FailureThreshold = 1
			cfg.Hedge = caller.Hedge{After: time.Millisecond, Percentile: 0.95}
			cfg.IdempotencyKeys = true
			cfg.Hooks = caller.Hooks{
				Admitted: func(_ context.Context, a caller.Admission) { out.add(a) }, Attempted: func(_ context.Context, a caller.Attempt) { out.add(a, a.Err) },
				UsageRead: func(_ context.Context, u caller.Usage) { out.add(u) }, QuotaRead: func(_ context.Context, o caller.QuotaReport) { out.add(o) },
				KeysFailed: func(_ context.Context, err error) { out.add(err) }, CircuitOpened: func(_ context.Context, c caller.Circuit) { out.add(c) },
			}
			for _, c := range change {
				c(cfg)
			}
		}
	}
	one := join(t, rdb, cfg())
	two := join(t, rdb, cfg(func(cfg *caller.Config) { cfg.Name = "q"; cfg.Timeout = time.Nanosecond }))
	client := &http.Client{Transport: one.Transport(nil, caller.TransportConfig{ErrorResponses: true})}
	refused := &http.Client{Transport: two.Transport(nil, caller.TransportConfig{ErrorResponses: true})}
	defer client.CloseIdleConnections()
	for _, path := range []string{"/fine", "/slow", "/broken", "/broken", "/fine"} {
		for _, via := range []*http.Client{client, refused} {
			ctx := caller.WithOptions(t.Context(), caller.Options{DedupKey: path, Affinity: "a", Idempotency: caller.IdempotencyYes})
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, provider.URL+path, strings.NewReader(`{"model":"m"}`))
			res, err := via.Do(req)
			out.add(err)
			if err != nil {
				continue
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			out.add(string(body), res.Header, res.Request.Header, res.Request.URL)
			if e := caller.ErrorOf(res); e != nil {
				out.add(e)
			}
		}
	}
	ctx := testkit.Context(t)
	state, err := one.Inspect(ctx)
	out.add(state, err, one.Disable(ctx, "k", "leaked"), one.Enable(ctx, "k"), one.Disable(ctx, "none", ""))
	twice := caller.Key{ID: "k", Secret: caller.NewSecret(canary)}
	out.add(one.SetKeys([]caller.Key{twice, twice}), one.SetKeys([]caller.Key{{ID: canary, Secret: caller.NewSecret(canary)}}))
	out.add(one.Stats(), two.Stats(), one, two, twice, fmt.Sprint(client))
	if got := <-sent; !strings.HasPrefix(got, canary) {
		t.Errorf("the provider got %q", got)
	}
	for _, k := range rdb.Keys(t.Context(), "*").Val() {
		out.add(k, rdb.HGetAll(t.Context(), k).Val())
	}
	text := out.text.String()
	for _, word := range []string{"caller.Usage", "caller.QuotaReport", "caller.Circuit", "caller.Attempt", "caller.Admission"} {
		if !strings.Contains(text, word) {
			t.Errorf("got no %s, want some", word)
		}
	}
	for name, text := range map[string]string{"what got out": text, "MONITOR": monitored()} {
		if at := strings.Index(text, canary); at >= 0 {
			t.Errorf("got the canary in %s, want it in requests only: %q", name, text[max(0, at-300):min(len(text), at+100)])
		}
	}
}

// streamsBeginning is the stream's part before its text.
var streamsBeginning, _, _ = strings.Cut(stream, "event: content")

// A stream that its reader cancels releases the permit at once. The usage reported by then is settled if it is above
// the estimate.
func TestTransport_SettlesACancelledStream(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	used := make(chan caller.Usage, 1)
	c := join(t, rdb, concurrency(1), limits(caller.Limit{Metric: caller.InputTokens, Rate: 1000, Period: time.Hour, Algorithm: caller.Bucket}),
		func(cfg *caller.Config) {
			cfg.Profile = profiles.Anthropic()
			cfg.Profile.Estimate = func(*http.Request, []byte) caller.Cost { return caller.Cost{caller.InputTokens: 10} }
			cfg.Hooks.UsageRead = func(_ context.Context, u caller.Usage) { used <- u }
		})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, streamsBeginning)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	client := &http.Client{Transport: c.Transport(nil, caller.TransportConfig{ErrorResponses: true})}
	defer client.CloseIdleConnections()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, http.NoBody)
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, len(streamsBeginning))); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "Redis knows of the permit", func() bool { held, _ := inRedis(t, rdb, "p"); return held == 1 })
	cancel()
	if _, err := res.Body.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v from the cancelled stream, want context.Canceled", err)
	}
	if n := c.Stats().CallsInFlight; n != 0 {
		t.Errorf("got %d calls in flight, want 0", n)
	}
	if u := <-used; !reflect.DeepEqual(u.Settled, caller.Cost{caller.InputTokens: 15}) {
		t.Errorf("got %+v, want the usage above the estimate settled", u)
	}
	testkit.Eventually(t, "Redis knows that it is back", func() bool { held, _ := inRedis(t, rdb, "p"); return held == 0 })
	// A token of 1,000 an hour takes 3.6 s. A little time has passed.
	testkit.Eventually(t, "Redis knows of the debt", func() bool {
		n := charged(t, rdb, 3600*time.Millisecond)
		return n >= 24 && n <= 26
	})
}
