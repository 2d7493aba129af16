package apisim

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Each control works over HTTP.
func TestControls_WorkOverHTTP(t *testing.T) {
	t.Parallel()
	f := start(t, limits(Limit{Metric: Requests, Limit: 100, Per: time.Hour}))
	for _, step := range []struct {
		path, body string
		call       int // status of a call afterwards
	}{
		{"revoke", `{"key":"k1"}`, 401},
		{"restore", `{"key":"k1"}`, 200},
		{"out-of-credit", `{"account":"org"}`, 429},
		{"top-up", `{"account":"org"}`, 200},
		{"failure", `{"kind":"overloaded","rate":1}`, 503},
		{"failure", `{"kind":"overloaded","rate":0}`, 200},
		{"latency", `{"min":"1ms","max":"1ms"}`, 200},
		{"foreign-use", `{"account":"org","metric":"requests","units":1000}`, 429},
	} {
		f.control(step.path, step.body, 200)
		f.want(request{}, step.call)
	}
	if got := *f.settings.Load(); got.latency != (Latency{Min: time.Millisecond, Max: time.Millisecond}) {
		t.Errorf("settings %+v", got)
	}
	for path, body := range map[string]string{
		"revoke": `{"key":"nobody"}`, "restore": `{}`, "out-of-credit": `{"account":"nobody"}`, "top-up": `{`,
		"failure": `{"kind":"overloaded","rate":2}`, "latency": `{"min":"soon"}`,
		"foreign-use": `{"account":"org","metric":"requests"}`,
	} {
		f.control(path, body, 400)
	}
	f.control("failure", `{"kind":"flood","rate":1}`, 400)
	f.control("revoke", `{"kye":"k1"}`, 400)

	resp, err := f.client.Get(f.URL() + "/sim/ledger")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var l Ledger
	if err := json.NewDecoder(resp.Body).Decode(&l); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.StatusCode, err)
	}
	if l.Admitted() != 5 || l.Throttled() != 2 || l.Account("org").Keys[0].AfterRevocation != 1 {
		t.Errorf("ledger over HTTP: %+v", l)
	}
}

// Start refuses an invalid configuration.
func TestStart_RefusesInvalidConfigurations(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no account":     {func(c *Config) { c.Accounts = nil }, "at least one account"},
		"account twice":  {func(c *Config) { c.Accounts = append(c.Accounts, c.Accounts[0]) }, `account ID "org"`},
		"no secret":      {func(c *Config) { c.Accounts[0].Keys[1].Secret = "" }, `key "k2"`},
		"secret twice":   {func(c *Config) { c.Accounts[0].Keys[1].Secret = "sk-1" }, `key "k2"`},
		"concurrency":    {func(c *Config) { c.Accounts[0].Concurrency = -1 }, "Concurrency"},
		"metric":         {limits(Limit{Metric: "calls", Limit: 1, Per: 1}), "metric"},
		"window":         {limits(Limit{Metric: Requests, Limit: 1}), "positive"},
		"latency":        {func(c *Config) { c.Latency = Latency{Min: 2, Max: 1} }, "latency"},
		"failure":        {failing(Reset, -1), "reset"},
		"failures":       {func(c *Config) { c.Failures = Failures{Overloaded: 0.6, Hang: 0.6} }, "sum"},
		"address in use": {func(c *Config) { c.Addr = "256.0.0.1:1" }, "apisim"},
	} {
		cfg := Config{Accounts: []Account{{ID: "org", Keys: []Key{{ID: "k1", Secret: "sk-1"}, {ID: "k2", Secret: "sk-2"}}}}}
		tc.change(&cfg)
		s, err := Start(cfg)
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "sk-") {
			t.Errorf("%s: error = %v, want one about %q without a secret", name, err, tc.want)
		}
	}
}

// A call is charged with the larger of max_tokens and a quarter of its characters.
func TestTokenCost_FollowsOpenAIsRule(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int64{
		`{"model":"m","messages":[{"role":"user","content":"12345"}]}`:                                                    2,
		`{"model":"m","messages":[{"role":"system","content":"1234"},{"role":"user","content":"12345678"}]}`:              3,
		`{"model":"m","max_tokens":2,"messages":[{"role":"user","content":"123456789"}]}`:                                 3,
		`{"model":"m","max_tokens":20,"messages":[{"role":"user","content":"123456789"}]}`:                                20,
		`{"model":"m","max_completion_tokens":30,"max_tokens":20,"messages":[{"role":"user","content":""}]}`:              30,
		`{"model":"m","messages":[{"role":"user","content":"日本語日"}]}`:                                                     1,
		`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"1234"},{"type":"image_url"}]}]}`:       1,
		`{"model":"m","messages":[{"role":"assistant","content":null},{"role":"user","content":"1234"}],"temperature":1}`: 1,
	} {
		if got, err := TokenCost([]byte(body)); got != want || err != nil {
			t.Errorf("TokenCost(%s) = %d, %v; want %d", body, got, err, want)
		}
	}
	if _, err := TokenCost([]byte("[]")); err == nil {
		t.Error("no error for a body that is not a call")
	}
}
