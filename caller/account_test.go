package caller_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/penstock/penstock/caller"
	profiles "github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/internal/redistest"
)

// seen is a request as a server saw it.
type seen struct {
	method, host, uri, body, auth string
	length                        int64
	header                        http.Header
}

// region is a server that records the requests that it sees.
type region struct {
	*httptest.Server
	mu   sync.Mutex
	seen []seen
}

// newRegion starts a server that answers as answer does, or with a completion.
func newRegion(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *region {
	t.Helper()
	g := &region{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		g.mu.Lock()
		g.seen = append(g.seen, seen{r.Method, r.Host, r.RequestURI, string(body), r.Header.Get("Authorization"), r.ContentLength, r.Header})
		g.mu.Unlock()
		if answer != nil {
			answer(w, r)
			return
		}
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"ok"}}],"candidates":[{"content":{"parts":[{"text":"ok"}]}}]}`)
	}))
	t.Cleanup(g.Close)
	return g
}

// requests returns the requests that the server saw.
func (g *region) requests() []seen {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.seen)
}

func in(account, id string) caller.Key {
	k := key(id)
	k.Account = account
	return k
}

func spread(a ...caller.Account) func(*caller.Config) {
	return func(c *caller.Config) {
		c.Accounts = a
		c.Keys = nil
		for i := range a {
			c.Keys = append(c.Keys, in(a[i].ID, "key of "+a[i].ID))
		}
	}
}

func profile(p caller.Profile) func(*caller.Config) {
	return func(c *caller.Config) { c.Profile = p }
}

// send sends a POST through a pool's Transport and closes the response.
func send(t *testing.T, c *caller.Pool, url, body string) *http.Response {
	t.Helper()
	client := &http.Client{Transport: c.Transport(nil, caller.TransportConfig{})}
	res, err := client.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatalf("%s: got %v, want a response", url, err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res
}

// A request goes to the granted account's URL, with its query, headers and name of the model; the server sees a body of
// the announced length in which nothing else has changed.
func TestAccount_IsThePlaceOfItsCalls(t *testing.T) {
	t.Parallel()
	const body = `{ "a":1e400, "model" : "gpt-4o","messages":[{"model":"gpt-4o"}], "z": [1, 2]}`
	renamed := strings.Replace(body, `"gpt-4o"`, `"GPT \"4\""`, 1)
	for name, test := range map[string]struct {
		profile caller.Profile
		account caller.Account // its BaseURL is what follows the server's
		base    string         // Config.BaseURL
		url     string
		body    string
		uri     string
		sees    string
	}{
		"body":        {profiles.OpenAI(), caller.Account{Models: map[string]string{"gpt-4o": `GPT "4"`}}, "", "http://own.invalid/v1/chat/completions?x=1", body, "/v1/chat/completions?x=1", renamed},
		"same name":   {profiles.OpenAI(), caller.Account{Models: map[string]string{"gpt-4o": ""}}, "", "http://own.invalid/v1/chat/completions", body, "/v1/chat/completions", body},
		"no models":   {profiles.OpenAI(), caller.Account{}, "", "http://own.invalid/v1/chat/completions", body, "/v1/chat/completions", body},
		"a pattern":   {profiles.OpenAI(), caller.Account{Models: map[string]string{"*": "x", "gpt-*": `GPT "4"`, "gpt-4o-*": "y"}}, "", "http://own.invalid/v1/chat/completions", body, "/v1/chat/completions", renamed},
		"one version": {profiles.OpenAI(), caller.Account{BaseURL: "/openai/v1/"}, "", "http://own.invalid/v1/models", "", "/openai/v1/models", ""},
		"own version": {profiles.OpenAI(), caller.Account{BaseURL: "/v1beta"}, "", "http://own.invalid/v1/models", "", "/v1beta/models", ""},
		"prefix":      {profiles.OpenAI(), caller.Account{BaseURL: "/gateway"}, "", "http://own.invalid/v1/models", "", "/gateway/v1/models", ""},
		"there":       {profiles.OpenAI(), caller.Account{BaseURL: "/gateway"}, "", "http://own.invalid/gateway/v1/models", "", "/gateway/v1/models", ""},
		"of a base":   {profiles.OpenAI(), caller.Account{BaseURL: "/v1beta/openai"}, "http://own.invalid/v1", "http://own.invalid/v1/models", "", "/v1beta/openai/models", ""},
		"beside it":   {profiles.OpenAI(), caller.Account{BaseURL: "/v2"}, "http://own.invalid/v1/a", "http://own.invalid/v1/abc", "", "/v2/abc", ""},
		"query":       {profiles.OpenAI(), caller.Account{BaseURL: "/a?api-version=2&x=9", Query: url.Values{"y": {"7"}}}, "", "http://own.invalid/b?x=1&z=3&y=0", "", "/a/b?api-version=2&x=9&y=7&z=3", ""},
		"escapes":     {profiles.OpenAI(), caller.Account{BaseURL: "/a%2Fb"}, "", "http://own.invalid/c%2Fd%20e", "", "/a%2Fb/c%2Fd%20e", ""},
		"Azure":       {profiles.Azure(), caller.Account{Models: map[string]string{"gpt-4o": "eu-4o"}}, "", "http://own.invalid/openai/deployments/gpt-4o/chat/completions?api-version=1", `{"messages":[]}`, "/openai/deployments/eu-4o/chat/completions?api-version=1", `{"messages":[]}`},
		"deployment":  {profiles.OpenAI(), caller.Account{BaseURL: "/openai/deployments/{model}?api-version=1", Models: map[string]string{"gpt-4o": `eu 4o`}}, "", "http://own.invalid/v1/chat/completions", `{"model":"gpt-4o"}`, "/openai/deployments/eu%204o/chat/completions?api-version=1", `{"model":"eu 4o"}`},
		"Gemini":      {profiles.Gemini(), caller.Account{Models: map[string]string{"gemini-2": "tuned-2"}}, "", "http://own.invalid/v1beta/models/gemini-2:streamGenerateContent?alt=sse", `{"contents":[]}`, "/v1beta/models/tuned-2:streamGenerateContent?alt=sse", `{"contents":[]}`},
		"Vertex": {
			profiles.Vertex(), caller.Account{BaseURL: "/v1/projects/p/locations/eu/publishers/google", Models: map[string]string{"g": "g@001"}},
			"http://own.invalid/v1/projects/q/locations/us/publishers/google", "http://own.invalid/v1/projects/q/locations/us/publishers/google/models/g:generateContent", `{}`, "/v1/projects/p/locations/eu/publishers/google/models/g@001:generateContent", `{}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newRegion(t, nil)
			_, rdb := redistest.Mini(t)
			a := test.account
			a.ID, a.BaseURL, a.Header = "eu", server.URL+a.BaseURL, http.Header{"x-region": {"eu"}}
			c := join(t, rdb, spread(a), profile(test.profile), func(c *caller.Config) { c.BaseURL = test.base })
			send(t, c, test.url, test.body)
			got := server.requests()
			if len(got) != 1 || got[0].uri != test.uri || got[0].body != test.sees || got[0].length != int64(len(test.sees)) {
				t.Fatalf("got  %+v\nwant %s with the body %s", got, test.uri, test.sees)
			}
			if got[0].host != strings.TrimPrefix(server.URL, "http://") || got[0].header.Get("X-Region") != "eu" {
				t.Errorf("got the host %q and headers %v, want those of the account", got[0].host, got[0].header)
			}
		})
	}
}

// Bedrock has the model in the path, with a colon in it, and signs the request in its final form.
func TestAccount_RenamesBedrocksModels(t *testing.T) {
	t.Parallel()
	server := newRegion(t, nil)
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, spread(caller.Account{ID: "us", BaseURL: server.URL, Models: map[string]string{"claude": "us.claude-v1:0"}}), func(c *caller.Config) {
		c.Keys[0].Secret = caller.Secret{}
		c.Keys[0].Authorize = func(_ context.Context, r *http.Request) error {
			body, err := r.GetBody()
			if err != nil {
				return err
			}
			signed, err := io.ReadAll(body)
			r.Header.Set("Authorization", fmt.Sprintf("signed %s %s %d", r.URL.EscapedPath(), signed, r.ContentLength))
			return err
		}
	})
	ctx := caller.WithOptions(t.Context(), caller.Options{Model: "claude"})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://own.invalid/model/claude/converse", strings.NewReader(`{"x":1}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Transport(nil, caller.TransportConfig{}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	got := server.requests()
	if want := `signed /model/us.claude-v1%3A0/converse {"x":1} 7`; len(got) != 1 || got[0].auth != want || got[0].uri != "/model/us.claude-v1%3A0/converse" {
		t.Errorf("got %+v, want the request signed as %s", got, want)
	}
}

// An account that doesn't have a model gets no call for it, also when the others are used up. A model that no account has
// is an error.
func TestAccount_GetsOnlyCallsForItsModels(t *testing.T) {
	t.Parallel()
	small, large := newRegion(t, nil), newRegion(t, nil)
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, profile(profiles.OpenAI()), spread(
		caller.Account{ID: "small", BaseURL: small.URL, Models: map[string]string{"mini": "", "o*": ""}},
		caller.Account{ID: "large", BaseURL: large.URL, Models: map[string]string{"mini": "", "gpt": "gpt-large"}}),
	)
	for range 20 {
		send(t, c, "http://own.invalid/v1/chat/completions", `{"model":"gpt"}`)
		send(t, c, "http://own.invalid/v1/chat/completions", `{"model":"o3"}`)
		send(t, c, "http://own.invalid/v1/chat/completions", `{"model":"mini"}`)
	}
	for _, got := range small.requests() {
		if strings.Contains(got.body, "gpt") {
			t.Fatalf("got %+v, want no call for gpt", got)
		}
	}
	minis := 0
	for _, got := range large.requests() {
		if strings.Contains(got.body, "o3") || strings.Contains(got.body, `"gpt"`) {
			t.Fatalf("got %+v, want no call for o3, and gpt by its name there", got)
		}
		minis += strings.Count(got.body, "mini")
	}
	if minis == 0 || minis == 20 {
		t.Errorf("got %d of 20 calls for mini in one account, want both to serve them", minis)
	}
	_, err := caller.Do(caller.WithOptions(t.Context(), caller.Options{Model: "none"}), c, nil, nop)
	if !errors.Is(err, caller.ErrNoModel) {
		t.Errorf("got %v, want ErrNoModel", err)
	}
	for model, want := range map[string]string{"gpt": "gpt-large", "o1": "o1", "": ""} {
		got, err := caller.Do(caller.WithOptions(t.Context(), caller.Options{Model: model}), c, nil, func(_ context.Context, g *caller.Grant) (string, error) {
			return g.Model + " at " + g.BaseURL, nil
		})
		if err != nil || !strings.HasPrefix(got, want+" at http://127.0.0.1") {
			t.Errorf("Do for %q: got %q, %v, want %q and the account's URL", model, got, err, want)
		}
	}
}

// Provisioned capacity comes first, and pay-as-you-go takes what it refuses. Config.Accounts has the order.
func TestAccount_OrderIsThatOfFirstAvailable(t *testing.T) {
	t.Parallel()
	busy := false
	provisioned := newRegion(t, func(w http.ResponseWriter, _ *http.Request) {
		if busy {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"ok"}}]}`)
	})
	spare := newRegion(t, nil)
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, quick, profile(profiles.Azure()), spread(
		caller.Account{ID: "ptu", BaseURL: provisioned.URL, Models: map[string]string{"gpt": "gpt-ptu"}},
		caller.Account{ID: "paygo", BaseURL: spare.URL, Models: map[string]string{"gpt": "gpt-payg"}},
	), func(c *caller.Config) {
		c.Strategy = caller.FirstAvailable
		slices.Reverse(c.Keys)
	})
	const url = "http://own.invalid/openai/deployments/gpt/chat/completions"
	for range 5 {
		send(t, c, url, `{}`)
	}
	if first, second := len(provisioned.requests()), len(spare.requests()); first != 5 || second != 0 {
		t.Errorf("got %d and %d calls, want all 5 on provisioned capacity", first, second)
	}
	busy = true
	res := send(t, c, url, `{}`)
	if got := spare.requests(); res.StatusCode != http.StatusOK || len(got) != 1 || got[0].uri != "/openai/deployments/gpt-payg/chat/completions" {
		t.Errorf("got the status %d and %+v, want the call on the spare account by its name there", res.StatusCode, got)
	}
	if got := provisioned.requests()[5]; !strings.HasPrefix(got.uri, "/openai/deployments/gpt-ptu/") {
		t.Errorf("got %s, want the first attempt on provisioned capacity", got.uri)
	}
}

// A key's secret goes to its own account's host alone, and the client's own credentials don't leave their host.
func TestAccount_KeepsSecretsToItsHost(t *testing.T) {
	t.Parallel()
	stranger := newRegion(t, nil)
	moved := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, stranger.URL+"/next", http.StatusTemporaryRedirect)
	}
	one, two := newRegion(t, moved), newRegion(t, moved)
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, spread(caller.Account{ID: "one", BaseURL: one.URL}, caller.Account{ID: "two", BaseURL: two.URL}), func(c *caller.Config) {
		c.Strategy = caller.RoundRobin
	})
	both, err := caller.FallbackTransport(caller.FallbackRoute{Transport: c.Transport(nil, caller.TransportConfig{})})
	if err != nil {
		t.Fatal(err)
	}
	for name, base := range map[string]http.RoundTripper{"Transport": c.Transport(nil, caller.TransportConfig{}), "FallbackTransport": both} {
		for range 4 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://own.invalid/v1/x", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range []string{"Authorization", "Cookie", "Api-Key", "X-Api-Key"} {
				req.Header.Set(h, "own "+canary)
			}
			res, err := (&http.Client{Transport: base}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
		}
		for id, server := range map[string]*region{"one": one, "two": two} {
			got := server.requests()
			if len(got) == 0 {
				t.Errorf("%s: got no call in account %s, want some", name, id)
			}
			for _, r := range got {
				if r.auth != "Bearer secret of key of "+id || strings.Contains(fmt.Sprint(r.header), canary) {
					t.Errorf("%s: account %s: got %v, want its own secret alone", name, id, r.header)
				}
			}
		}
	}
	if len(stranger.requests()) != 8 {
		t.Errorf("got %d requests after redirects, want 8", len(stranger.requests()))
	}
	for _, r := range stranger.requests() {
		if strings.Contains(fmt.Sprint(r.header), "secret of") {
			t.Errorf("got %v at a redirect's target, want no secret of the pool", r.header)
		}
	}
}
