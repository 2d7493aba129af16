package apisim

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a simulator with two keys in one account, and a client of it.
type fixture struct {
	*Server
	t      *testing.T
	client *http.Client
}

func start(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	cfg := Config{Accounts: []Account{{ID: "org", Keys: []Key{{ID: "k1", Secret: "sk-1"}, {ID: "k2", Secret: "sk-2"}}}}}
	if change != nil {
		change(&cfg)
	}
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	client := newClient()
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &fixture{Server: s, t: t, client: client}
}

func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
}

func limits(l ...Limit) func(*Config) {
	return func(c *Config) { c.Accounts[0].Limits = l }
}

// request is a call in the making.
type request struct {
	secret, id, body string
}

const hello = `{"model":"m","messages":[{"role":"user","content":"Hello, world"}]}`

func (r request) build(ctx context.Context, url string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/chat/completions",
		strings.NewReader(cmp.Or(r.body, hello)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+cmp.Or(r.secret, "sk-1"))
	if r.id != "" {
		req.Header.Set("X-Request-Id", r.id)
	}
	req.GetBody = nil // net/http must not repeat a call
	return req, nil
}

// response is an answer with its body read.
type response struct {
	status int
	header http.Header
	body   string
}

func send(ctx context.Context, client *http.Client, url string, r request) (response, error) {
	req, err := r.build(ctx, url)
	if err != nil {
		return response{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(body)}, err
}

func (f *fixture) call(r request) (response, error) {
	return send(f.t.Context(), f.client, f.URL(), r)
}

func (f *fixture) want(r request, status int, contains ...string) response {
	f.t.Helper()
	resp, err := f.call(r)
	if err != nil {
		f.t.Fatal(err)
	}
	if resp.status != status {
		f.t.Fatalf("status %d, want %d: %s", resp.status, status, resp.body)
	}
	for _, c := range contains {
		if !strings.Contains(resp.body, c) {
			f.t.Errorf("body %s\nlacks %s", resp.body, c)
		}
	}
	return resp
}

// control posts to /sim/.
func (f *fixture) control(path, body string, status int) string {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.URL()+"/sim/"+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	_, _ = b.ReadFrom(resp.Body)
	if resp.StatusCode != status {
		f.t.Fatalf("%s %s: status %d, want %d: %s", path, body, resp.StatusCode, status, b.String())
	}
	return b.String()
}

// An answer is the last message in other letters, with its usage.
func TestChat_AnswersWithUsage(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	resp, err := f.call(request{})
	if err != nil {
		t.Fatal(err)
	}
	var c completion
	if err := json.Unmarshal([]byte(resp.body), &c); err != nil {
		t.Fatal(err)
	}
	if c.Object != "chat.completion" || len(c.Choices) != 1 || c.Choices[0].Message.Content != "Hélló, wórld" ||
		*c.Choices[0].FinishReason != "stop" || *c.Usage != (usage{3, 3, 6}) {
		t.Errorf("unexpected answer %s", resp.body)
	}
	f.want(request{body: `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"Hello, world"}]}`}, 200,
		`"content":"Héll"`, `"finish_reason":"length"`)
}

// Requests that make no sense are refused with 400 or 404.
func TestChat_RefusesInvalidRequests(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for _, body := range []string{"{", `{"model":"m"}`, `{"model":"m","messages":[{"role":"user","content":7}]}`} {
		f.want(request{body: body}, 400, `"type":"invalid_request_error"`)
	}
	resp, err := f.client.Get(f.URL() + "/v1/nothing")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("status %d for an unknown path", resp.StatusCode)
	}
}

// A limit of requests is enforced, and its state is in the headers.
func TestLimit_IsReportedInHeaders(t *testing.T) {
	t.Parallel()
	f := start(t, limits(Limit{Metric: Requests, Limit: 3, Per: time.Hour}, Limit{Metric: Tokens, Limit: 1000, Per: time.Minute}))
	for i := range 3 {
		resp := f.want(request{}, 200)
		for name, want := range map[string]string{
			"x-ratelimit-limit-requests": "3", "x-ratelimit-remaining-requests": fmt.Sprint(2 - i),
			"x-ratelimit-reset-requests": "1h0m0s", "x-ratelimit-limit-tokens": "1000",
			"x-ratelimit-remaining-tokens": fmt.Sprint(1000 - 3*(i+1)), "x-ratelimit-reset-tokens": "1m0s",
		} {
			if got := resp.header.Get(name); got != want {
				t.Errorf("call %d: %s = %q, want %q", i, name, got, want)
			}
		}
	}
	resp := f.want(request{secret: "sk-2"}, 429, `"code":"rate_limit_exceeded"`, `"type":"requests"`)
	seconds, ms := resp.header.Get("Retry-After"), resp.header.Get("Retry-After-Ms")
	var n, m int64
	if _, err := fmt.Sscan(seconds+" "+ms, &n, &m); err != nil || n < 3500 || n > 3600 || m <= 1000*(n-1) || m > 1000*n {
		t.Errorf("Retry-After %q, Retry-After-Ms %q", seconds, ms)
	}
	a := f.Ledger().Account("org")
	if a.Admitted != 3 || a.Throttled[OverRequests] != 1 || a.Keys[1].Throttled[OverRequests] != 1 || a.Limits[0].Peak != 3 {
		t.Errorf("ledger %+v", a)
	}
}
