package apisim

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/testkit"
)

const streamed = `{"model":"m","stream":true,"messages":[{"role":"user","content":"Hello, world"}]}`

// Failures of status 200 have no output in them, in JSON and in a stream.
func TestFailures_AnswerWith200(t *testing.T) {
	t.Parallel()
	for kind, want := range map[Kind]string{
		Embedded: `{"error":{"message":"The engine is currently overloaded`, Empty: "\n\n\n", Page: "<html>",
	} {
		f := start(t, failing(kind, 1))
		if got := f.want(request{}, 200).body; !strings.HasPrefix(got, want) || strings.Contains(got, "choices") {
			t.Errorf("%s: got %q, want %q and no output", kind, got, want)
		}
		if l := f.Ledger(); l.Account("org").Failures[kind] != 1 || l.Account("org").Admitted != 1 {
			t.Errorf("%s: got ledger %+v, want one admission that failed", kind, l)
		}
	}
	f := start(t, failing(Embedded, 1))
	got := f.want(request{body: streamed}, 200)
	if want := `data: {"error":`; !strings.HasPrefix(got.body, want) || !strings.HasPrefix(got.header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("stream: got %q, want %q", got.body, want)
	}
	if got := f.message(t, streamed); !strings.HasPrefix(got, "event: error\ndata: {") || !strings.Contains(got, `"overloaded_error"`) {
		t.Errorf("Anthropic's stream: got %q, want an error as the first event", got)
	}
}

// message posts to Anthropic's endpoint.
func (f *fixture) message(t *testing.T, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.URL()+"/v1/messages", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", "sk-1")
	res, err := f.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A refusal without a code or a wait is one failure among good answers.
func TestFailures_RefuseWithoutReason(t *testing.T) {
	t.Parallel()
	f := start(t, failing(Blip, 1))
	f.want(request{}, 401, `"type":"server_error"`, `"code":null`)
	if err := f.SetFailure(Blip, 0); err != nil {
		t.Fatal(err)
	}
	f.want(request{}, 200)

	f = start(t, failing(Busy, 1))
	if got := f.want(request{}, 429, `"type":"rate_limited"`); got.header.Get("Retry-After") != "" || got.header.Get("Retry-After-Ms") != "" {
		t.Errorf("got headers %v, want no wait", got.header)
	}
}

// An answer is cut, or stalls, at a byte.
func TestFailures_BreakOffAtAByte(t *testing.T) {
	t.Parallel()
	for _, at := range []int{1, 60} {
		f := start(t, func(c *Config) { c.Failures.Cut, c.CutAt = 1, at })
		if got, err := f.call(request{}); err == nil || len(got.body) > at {
			t.Errorf("cut at %d: got %d bytes, error %v, want at most as many and an error", at, len(got.body), err)
		}
	}
	for _, body := range []string{hello, streamed} {
		f := start(t, func(c *Config) {
			c.Failures.Stall = 1
			c.Accounts[0].Concurrency = 1
		})
		ctx, cancel := context.WithCancel(testkit.Context(t))
		defer cancel()
		req, err := request{body: body}.build(ctx, f.URL())
		if err != nil {
			t.Fatal(err)
		}
		res, err := f.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if _, err := io.ReadFull(res.Body, make([]byte, 10)); err != nil {
			t.Errorf("got %v, want the beginning of the answer", err)
		}
		f.want(request{}, 429, "in flight") // the stalled call has its permit
		cancel()
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("got the end of the answer, want none")
		}
		if err := f.SetFailure(Stall, 0); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the call has left flight", func() bool {
			got, err := f.call(request{})
			return err == nil && got.status == 200
		})
	}
}

// A storm lets every call meet one failure, until it ends.
func TestStorm_EndsByItself(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	if err := f.Storm(Busy, time.Hour); err != nil {
		t.Fatal(err)
	}
	f.want(request{}, 429)
	f.want(request{}, 429)
	f.control("storm", `{"kind":"overloaded","for":"50ms"}`, 200)
	testkit.Eventually(t, "the storm is over", func() bool {
		got, err := f.call(request{})
		return err == nil && got.status == 200
	})
	f.control("storm", `{"kind":"hail","for":"1s"}`, 400)
	f.control("storm", `{"kind":"busy","for":"-1s"}`, 400)
}

// A rotated key is known by its new secret alone.
func TestRotate_ReplacesTheSecret(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.control("rotate", `{"key":"k1","secret":"sk-new"}`, 200)
	f.want(request{secret: "sk-1"}, 401, `"code":"invalid_api_key"`)
	f.want(request{secret: "sk-new"}, 200)
	f.want(request{secret: "sk-2"}, 200)
	f.control("rotate", `{"key":"k1","secret":"sk-2"}`, 400)
	f.control("rotate", `{"key":"k9","secret":"sk-9"}`, 400)
	if got := f.Ledger(); got.UnknownKeys != 1 || len(got.Account("org").Keys) != 2 {
		t.Errorf("got ledger %+v, want one unknown key and two keys", got)
	}
}

// A limit per model counts each model apart, and names it.
func TestLimit_PerModel(t *testing.T) {
	t.Parallel()
	f := start(t, limits(Limit{Metric: Requests, Limit: 1, Per: time.Hour, PerModel: true}))
	other := strings.Replace(hello, `"m"`, `"other"`, 1)
	f.want(request{}, 200)
	f.want(request{}, 429, "Rate limit reached for m in organization org on requests")
	f.want(request{body: other}, 200)
	f.want(request{body: other}, 429, "for other in organization")
	if got := f.Ledger().Account("org").Limits; len(got) != 2 || got[0].Model != "m" || got[1].Model != "other" {
		t.Errorf("got limits %+v, want one of each model", got)
	}
}

// An account serves its own models, in its own region.
func TestAccount_LacksModelsAndRegions(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) {
		c.Accounts[0].Models = []string{"m"}
		c.Accounts = append(c.Accounts, Account{ID: "eu", Region: "eu", Keys: []Key{{ID: "k3", Secret: "sk-3"}}})
	})
	f.want(request{}, 200)
	f.want(request{body: strings.Replace(hello, `"m"`, `"x"`, 1)}, 404, `"code":"model_not_found"`)
	f.want(request{secret: "sk-3"}, 404, `"code":"DeploymentNotFound"`)
	got, err := send(t.Context(), f.client, f.URL()+"/eu", request{secret: "sk-3"})
	if err != nil || got.status != 200 {
		t.Errorf("got status %d, error %v in the region, want 200", got.status, err)
	}
	if got, err := send(t.Context(), f.client, f.URL()+"/us", request{secret: "sk-3"}); err != nil || got.status != 404 {
		t.Errorf("got status %d, error %v in another region, want 404", got.status, err)
	}
}

// With Settle, a limit of tokens counts what a call used; else what it was charged before.
func TestSettle_CorrectsTokens(t *testing.T) {
	t.Parallel()
	const charged = `{"model":"m","max_tokens":90,"messages":[{"role":"user","content":"Hello, world"}]}` // uses 6
	for settle, status := range map[bool]int{false: 429, true: 200} {
		f := start(t, func(c *Config) {
			c.Settle = settle
			c.Accounts[0].Limits = []Limit{{Metric: Tokens, Limit: 100, Per: time.Hour}}
		})
		f.want(request{body: charged}, 200)
		f.want(request{body: charged}, status)
		want := map[bool]int64{false: 90, true: 12}[settle]
		if got := f.Ledger().Account("org").Limits[0].Admitted; got != want {
			t.Errorf("settle %v: got %d tokens, want %d", settle, got, want)
		}
	}
}

// With Compress, answers are compressed for clients that accept it, errors and streams included.
func TestCompress_AnswersWithGzip(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.Compress = true })
	for body, want := range map[string]string{hello: `"usage"`, streamed: "data: [DONE]", "{}": `"error"`} {
		req, err := request{body: body}.build(t.Context(), f.URL())
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "gzip")
		res, err := f.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if got := res.Header.Get("Content-Encoding"); got != "gzip" {
			t.Errorf("%s: got encoding %q, want gzip", body, got)
		}
		plain, err := gzip.NewReader(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(plain); err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: got %q, error %v, want %s in it", body, got, err, want)
		}
	}
	plain := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer plain.CloseIdleConnections()
	if got, err := send(t.Context(), plain, f.URL(), request{}); err != nil || got.header.Get("Content-Encoding") != "" || !strings.Contains(got.body, "usage") {
		t.Errorf("got %+v, error %v without Accept-Encoding, want plain JSON", got, err)
	}
}
