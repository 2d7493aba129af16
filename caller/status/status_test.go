package status_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/status"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

const (
	token  = "a token of the operators"
	canary = "sk-canary-7d1f"
)

// source is a fleet that a test makes up.
type source struct {
	fleet   caller.Fleet
	changes []string
	err     error
}

func (s *source) Fleet(context.Context) (*caller.Fleet, error) { return &s.fleet, s.err }

func (s *source) Disable(_ context.Context, key, reason string) error {
	s.changes = append(s.changes, "disable key "+key+": "+reason)
	return s.err
}

func (s *source) Enable(_ context.Context, key string) error {
	s.changes = append(s.changes, "enable key "+key)
	return s.err
}

func (s *source) DisableAccount(_ context.Context, account, reason string) error {
	s.changes = append(s.changes, "disable account "+account+": "+reason)
	return s.err
}

func (s *source) EnableAccount(_ context.Context, account string) error {
	s.changes = append(s.changes, "enable account "+account)
	return s.err
}

// fleet is one of everything that the page has words for.
func fleet() caller.Fleet {
	limit := caller.Limit{Metric: caller.Tokens, Rate: 1_200_000, Period: time.Minute}
	return caller.Fleet{
		Pool: "prod",
		State: caller.State{
			Keys: []caller.KeyState{
				{ID: "k1", Account: "org-a"},
				{ID: "k2", Account: "org-a", CoolingDown: 3 * time.Second, Reason: "rate limit"},
				{ID: "k3", Account: "org-b", Disabled: time.Hour, Reason: "<script>alert(1)</script>"},
			},
			Limits: []caller.LimitState{{Limit: limit, Account: "org-a", Pace: 0.75}},
		},
		Replicas: []caller.Replica{{
			Name: "pod-1", Seen: time.Second, InFlight: 7, Held: map[string]int{"org-a": 7}, Drifted: true, Differences: []string{"limits"},
			Waiting: []caller.Waiting{{Priority: caller.PriorityHigh, Calls: 12, For: "tokens", Until: 2 * time.Second}},
		}},
		Usage:   []caller.LimitUsage{{Limit: limit, Account: "org-a", Units: 600_000, Share: 0.5}},
		History: []caller.Interval{{Begin: time.Unix(0, 0), Succeeded: 57, Failed: 3, P95: time.Second}, {Begin: time.Unix(30, 0)}},
	}
}

func serve(t *testing.T, s status.Source, options ...status.Option) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.StripPrefix("/ops", status.Handler(s, options...)))
	t.Cleanup(server.Close)
	return server
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	res, err := http.Get(url) //nolint:noctx // the server is this test's own
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// The page shows the fleet, escapes what comes from elsewhere, and loads nothing from another host.
func TestPage_ShowsTheFleet(t *testing.T) {
	server := serve(t, &source{fleet: fleet()})
	res, page := get(t, server.URL+"/ops/")
	for _, want := range []string{"prod", "org-a", "k2", "cooling down", "disabled", "1\u2009200\u2009000 tokens per minute",
		"configured otherwise", "high", "50\u2009%", "75\u2009%", "&lt;script&gt;"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page: got no %q, want it", want)
		}
	}
	if strings.Contains(page, "<script>alert") || strings.Contains(page, "data-changes") || strings.Contains(page, "//cdn") {
		t.Errorf("the page: got a reason that isn't escaped, a button or another host, want none: %s", page)
	}
	if policy := res.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'self'") {
		t.Errorf("Content-Security-Policy: got %q, want scripts of the page alone", policy)
	}
	for _, asset := range []string{"app.js", "style.css", "uPlot.iife.min.js", "uPlot.min.css"} {
		if res, body := get(t, server.URL+"/ops/assets/"+asset); res.StatusCode != http.StatusOK || body == "" {
			t.Errorf("%s: got status %d, want it", asset, res.StatusCode)
		}
	}
}

// JSON and events carry the same state.
func TestEvents_CarryTheState(t *testing.T) {
	server := serve(t, &source{fleet: fleet()})
	_, text := get(t, server.URL+"/ops/state.json")
	var s status.State
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	if s.Pool != "prod" || s.CallsWaiting != 12 || s.InFlight != 7 || s.Last.Succeeded != 57 || s.Last.PerSecond != 2 ||
		len(s.Accounts) != 2 || s.Accounts[0].Keys[1].State != "cooling_down" || s.Limits[0].Share != 0.5 ||
		s.Waiting[0].For != "tokens" || *s.Waiting[0].Until != 1 {
		t.Errorf("state: got %s, want the fleet's", text)
	}
	req, err := http.NewRequestWithContext(testkit.Context(t), http.MethodGet, server.URL+"/ops/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	line, err := bufio.NewReader(res.Body).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Sections map[string]string
		History  []status.Interval
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &e); err != nil {
		t.Fatalf("event: got %q and %v, want JSON", line, err)
	}
	if len(e.Sections) != 5 || !strings.Contains(e.Sections["accounts"], "k3") || len(e.History) != 2 {
		t.Errorf("event: got %s, want all sections and the history", line)
	}
}

// A pool that can't be read is an error on the page and in JSON, and not an empty fleet.
func TestPage_SaysThatRedisIsAway(t *testing.T) {
	server := serve(t, &source{err: errors.New("connection refused")})
	if _, page := get(t, server.URL+"/ops/"); !strings.Contains(page, "connection refused") {
		t.Errorf("the page: got %s, want the error", page)
	}
	if res, text := get(t, server.URL+"/ops/state.json"); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "refused") {
		t.Errorf("state.json: got status %d and %s, want 503 and the error", res.StatusCode, text)
	}
}

// A change needs the option, the token, JSON, and a request of the page itself.
func TestChange_NeedsTheToken(t *testing.T) {
	allowed := status.AllowChanges(caller.NewSecret(token))
	for _, c := range []struct {
		name    string
		options []status.Option
		header  map[string]string
		body    string
		status  int
		want    string
	}{
		{"key", []status.Option{allowed}, nil, `{"action":"disable","key":"k1","reason":"leaked"}`, 204, "disable key k1: leaked"},
		{"key back", []status.Option{allowed}, nil, `{"action":"enable","key":"k1"}`, 204, "enable key k1"},
		{"account", []status.Option{allowed}, nil, `{"action":"disable","account":"org-a","reason":"x"}`, 204, "disable account org-a: x"},
		{"account back", []status.Option{allowed}, nil, `{"action":"enable","account":"org-a"}`, 204, "enable account org-a"},
		{"both", []status.Option{allowed}, nil, `{"action":"enable","account":"org-a","key":"k1"}`, 400, ""},
		{"neither", []status.Option{allowed}, nil, `{"action":"enable"}`, 400, ""},
		{"action", []status.Option{allowed}, nil, `{"action":"drop","key":"k1"}`, 400, ""},
		{"field", []status.Option{allowed}, nil, `{"action":"enable","keys":"k1"}`, 400, ""},
		{"no option", nil, nil, `{"action":"enable","key":"k1"}`, 403, ""},
		{"short token", []status.Option{status.AllowChanges(caller.NewSecret("short"))}, map[string]string{"Penstock-Token": "short"},
			`{"action":"enable","key":"k1"}`, 403, ""},
		{"wrong token", []status.Option{allowed}, map[string]string{"Penstock-Token": "guess"}, `{"action":"enable","key":"k1"}`, 401, ""},
		{"form", []status.Option{allowed}, map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
			`{"action":"enable","key":"k1"}`, 415, ""},
		{"other site", []status.Option{allowed}, map[string]string{"Sec-Fetch-Site": "cross-site"}, `{"action":"enable","key":"k1"}`, 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			its := &source{fleet: fleet()}
			server := serve(t, its, c.options...)
			req, err := http.NewRequestWithContext(testkit.Context(t), http.MethodPost, server.URL+"/ops/change", strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Penstock-Token", token)
			for name, value := range c.header {
				req.Header.Set(name, value)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got := strings.Join(its.changes, ", "); res.StatusCode != c.status || got != c.want {
				t.Errorf("got status %d and changes %q, want %d and %q", res.StatusCode, got, c.status, c.want)
			}
		})
	}
}

// A process with no key and no traffic shows and changes a pool that another one uses; no secret is on its page.
func TestPage_OfAProcessWithoutTraffic(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	pool, err := caller.New(rdb, caller.Config{Name: "p", Keys: []caller.Key{{ID: "k", Secret: caller.NewSecret(canary)}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := pool.Close(testkit.Context(t)); err != nil {
			t.Error(err)
		}
	}()
	nop := func(context.Context, *caller.Grant) (int, error) { return 0, nil }
	if _, err := caller.Do(testkit.Context(t), pool, nil, nop); err != nil {
		t.Fatal(err)
	}
	var admin *caller.Admin
	testkit.Eventually(t, "a report", func() bool {
		admin, err = caller.OpenAdmin(testkit.Context(t), rdb, "p")
		return err == nil
	})
	defer func() { _ = admin.Close(testkit.Context(t)) }()
	server := serve(t, admin, status.AllowChanges(caller.NewSecret(token)))
	_, page := get(t, server.URL+"/ops/")
	if !strings.Contains(page, `data-key="k"`) || strings.Contains(page, canary) || strings.Contains(page, token) {
		t.Errorf("the page: got %s, want the key's button and no secret", page)
	}
	if err := admin.Disable(testkit.Context(t), "k", "leaked"); err != nil {
		t.Fatal(err)
	}
	if _, err := caller.Do(testkit.Context(t), pool, nil, nop); !errors.Is(err, caller.ErrNoKeys) {
		t.Errorf("a call after the key was disabled: got %v, want ErrNoKeys", err)
	}
}
