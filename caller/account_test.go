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
	"time"

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
	client := &http.Client{Transport: c.Transport(nil, caller.TransportConfig{ReturnErrors: true})}
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

// An account's weight is its share of the calls, whatever its keys' weights are.
func TestAccount_WeightIsItsShare(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	served := map[string]int{}
	c := join(t, rdb, spread(caller.Account{ID: "a", Weight: 3}, caller.Account{ID: "b"}), func(c *caller.Config) {
		c.Strategy = caller.RoundRobin
		more := in("a", "another key of a")
		more.Weight = 5
		c.Keys = append(c.Keys, more)
	})
	for range 40 {
		_, err := caller.Do(t.Context(), c, nil, func(_ context.Context, g *caller.Grant) (int, error) {
			served[g.Account]++
			return 0, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if served["a"] < 28 || served["a"] > 32 {
		t.Errorf("got %v, want three of four calls in a", served)
	}
}

// The error of each mistake in an account names the account and says what to set instead.
func TestAccount_MistakesAreNamed(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]caller.Account{
		"Accounts[0] has no ID":                        {},
		`account "x" has no key: name it`:              {ID: "x"},
		`the BaseURL of account "a" isn't a full URL`:  {ID: "a", BaseURL: "api.openai.com"},
		`the BaseURL of account "a" has a user`:        {ID: "a", BaseURL: "https://u:" + canary + "@h"},
		`the Models of account "a" are empty`:          {ID: "a", Models: map[string]string{}},
		`the Header of account "a" has a name`:         {ID: "a", Header: http.Header{"x": {"a\nb"}}},
		`account "a" has the Concurrency -1`:           {ID: "a", Concurrency: -1},
		`the Models of account "a" have one without a`: {ID: "a", Models: map[string]string{"": "x"}},
	} {
		_, err := caller.New(unreachable(t), caller.Config{Name: "p", Keys: []caller.Key{key("a")}, Accounts: []caller.Account{a}})
		if err == nil || !contains(err, want) || contains(err, canary) {
			t.Errorf("got %v, want %q in it and no secret", err, want)
		}
	}
	_, err := caller.New(unreachable(t), caller.Config{
		Name: "p", Keys: []caller.Key{key("a")}, BaseURL: "/v1", Accounts: []caller.Account{{ID: "a"}, {ID: "a"}},
	})
	if err == nil || !contains(err, "BaseURL isn't a full URL") || !contains(err, `account "a" appears twice`) {
		t.Errorf("got %v, want both mistakes", err)
	}
}

// A key whose Authorize fails is taken out of use; the call goes on with another key, and nothing was sent with the first.
func TestAuthorize_FailureIsTheKeys(t *testing.T) {
	t.Parallel()
	for _, body := range []io.Reader{strings.NewReader("{}"), io.MultiReader(strings.NewReader("{}")), nil} {
		server := newRegion(t, nil)
		_, rdb := redistest.Mini(t)
		var failed []caller.Block
		c := join(t, rdb, quick, keys(key("a"), key("b")), func(c *caller.Config) {
			c.Strategy = caller.FirstAvailable
			c.Keys[0].Authorize = func(context.Context, *http.Request) error { return errors.New("no token") }
			c.Keys[1].Secret = caller.Secret{}
			c.Keys[1].Authorize = func(ctx context.Context, r *http.Request) error {
				if g := caller.GrantFrom(ctx); g == nil || g.Key != "b" {
					t.Errorf("got the grant %v in Authorize, want that of b", g)
				}
				r.Header.Set("Authorization", "token of b")
				return nil
			}
			c.Hooks.Disabled = func(_ context.Context, b caller.Block) { failed = append(failed, b) }
		})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Api-Key", "the client's own")
		res, err := c.Transport(nil, caller.TransportConfig{ReturnErrors: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		got := server.requests()
		if len(got) != 1 || got[0].auth != "token of b" || got[0].header.Get("Api-Key") != "" || body != nil && got[0].body != "{}" {
			t.Errorf("got %+v, want one request with the token of b and the whole body", got)
		}
		if caller.KeyOf(res) != "b" {
			t.Errorf("got the key %q of the response, want b", caller.KeyOf(res))
		}
		if len(failed) != 1 || failed[0].Key != "a" {
			t.Errorf("got %+v disabled, want the key a", failed)
		}
	}
}

// An Authorize that ends with the call's context says nothing about its key.
func TestAuthorize_EndOfTheCallIsNotTheKeys(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, func(c *caller.Config) {
		c.Keys[0].Authorize = func(ctx context.Context, _ *http.Request) error {
			<-ctx.Done()
			return ctx.Err()
		}
		c.Hooks.Disabled = func(_ context.Context, b caller.Block) { t.Errorf("got %+v disabled, want nothing", b) }
	})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := c.Transport(nil, caller.TransportConfig{}).RoundTrip(request(t, ctx, http.MethodGet))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	_, err = caller.Do(t.Context(), c, nil, func(_ context.Context, g *caller.Grant) (int, error) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return 0, g.Authorize(ctx, &http.Request{})
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Do: got %v, want the context's error", err)
	}
}

// The grant is in the context of base transports and of Do's function, and nowhere else. A response's key is known as long
// as the response, whatever has become of its body.
func TestGrant_IsVisible(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb)
	for _, status := range []int{200, 204, 400} {
		res, err := c.Transport(tripper(func(r *http.Request) (*http.Response, error) {
			if g := caller.GrantFrom(r.Context()); g == nil || g.Key != "k" || g.Account != "k" || g.Attempt != 1 {
				t.Errorf("got the grant %v below Transport, want that of k", g)
			}
			res := ok(r)
			res.StatusCode = status
			return res, nil
		}), caller.TransportConfig{}).RoundTrip(request(t, t.Context(), http.MethodPost))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		res.Body = http.NoBody
		if got := caller.KeyOf(res); got != "k" {
			t.Errorf("%d: got the key %q of the response, want k", status, got)
		}
	}
	_, err := caller.Do(t.Context(), c, nil, func(ctx context.Context, g *caller.Grant) (int, error) {
		if caller.GrantFrom(ctx) != g {
			t.Error("got another grant in Do's context, want its own")
		}
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if caller.GrantFrom(t.Context()) != nil || caller.KeyOf(nil) != "" || caller.KeyOf(&http.Response{}) != "" {
		t.Error("got a grant outside of calls, want none")
	}
}

// An account's own limit and concurrency take the place of those of all; a call that is too large for one account goes to
// another.
func TestAccount_HasItsOwnLimits(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	large := caller.Limit{Metric: caller.Tokens, Rate: 1000, Period: time.Minute}
	small := large
	small.Rate = 100
	c := join(t, rdb, limits(small), concurrency(1), spread(
		caller.Account{ID: "tier1"}, caller.Account{ID: "tier4", Limits: []caller.Limit{large}, Concurrency: 3}))
	for range 2 {
		got, err := caller.Do(t.Context(), c, caller.Cost{caller.Tokens: 400}, func(_ context.Context, g *caller.Grant) (string, error) {
			return g.Account, nil
		})
		if err != nil || got != "tier4" {
			t.Fatalf("got %q, %v, want the call in tier4", got, err)
		}
	}
	if _, err := caller.Do(t.Context(), c, caller.Cost{caller.Tokens: 1001}, nop); !errors.Is(err, caller.ErrNeverFits) {
		t.Errorf("got %v, want ErrNeverFits", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for range 4 {
		hold(t, c)
	}
	if _, err := caller.Do(ctx, c, nil, nop); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v for a fifth call in flight, want a refusal", err)
	}
}
