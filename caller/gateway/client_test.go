package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/gateway"
	"github.com/penstock/penstock/internal/testkit"
)

const token, other = "token-0123456789abcdef", "other-0123456789abcdef"

func hash(t *testing.T, token string) gateway.TokenHash {
	t.Helper()
	h, err := gateway.HashToken(token)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// A token is taken from where client libraries send it, and never reaches the provider.
func TestClients_AreKnownByTheirTokens(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 20)
	events := make(chan gateway.Event, 20)
	b := serve(t, func(w http.ResponseWriter, r *http.Request) { seen <- fmt.Sprint(r.Header, r.URL) }, options{gateway: func(c *gateway.Config) {
		c.Clients = []gateway.Client{{Name: "a", Tokens: []gateway.TokenHash{hash(t, token)}}, {Name: "b", Tokens: []gateway.TokenHash{hash(t, other)}}}
		c.Ended = func(e gateway.Event) { events <- e }
	}})
	for _, test := range []struct {
		name, value, query, client string
	}{
		{"Authorization", "Bearer " + token, "", "a"}, {"X-Api-Key", other, "", "b"}, {"Api-Key", token, "", "a"},
		{"X-Goog-Api-Key", token, "", "a"}, {"X-Other", "1", "?key=" + token + "&a=1", "a"},
		{"Authorization", "Bearer " + token + "x", "", ""}, {"Authorization", token, "", ""}, {"X-Other", "1", "", ""},
	} {
		res, text := b.post(t, "/v1/x"+test.query, "{}", test.name, test.value)
		if want := map[bool]int{true: http.StatusOK, false: http.StatusUnauthorized}[test.client != ""]; res.StatusCode != want {
			t.Errorf("%s: got %d %s, want %d", test.name, res.StatusCode, text, want)
		}
		if e := testkit.Receive(t, "the event", events); e.Client != test.client {
			t.Errorf("got client %q in the event, want %q", e.Client, test.client)
		}
		if test.client != "" {
			if got := testkit.Receive(t, "the request", seen); strings.Contains(got, token) || strings.Contains(got, other) {
				t.Errorf("got %s at the provider, want no client's token", got)
			}
		}
	}
}

// A client uses its models only, however it writes them.
func TestClients_UseTheirModelsOnly(t *testing.T) {
	t.Parallel()
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {}, options{gateway: func(c *gateway.Config) {
		c.Buffer = 1 << 10
		c.Clients = []gateway.Client{{Name: "a", Tokens: []gateway.TokenHash{hash(t, token)}, Models: []string{"gpt-4o*"}}}
	}})
	long := strings.Repeat("x", 2000)
	for body, want := range map[string]int{
		`{"model":"gpt-4o-mini"}`: 200, `{"model":"o3"}`: 403, `{}`: 200, `{"model":"gpt-4o","model":"o3"}`: 400,
		`{"model":"gpt-4o","Model":"o3"}`: 400, ` {"model":"o3"}`: 403, `{"a":"` + long + `","model":"o3"}`: 403,
		`{"a":"` + long + `","model":"gpt-4o"}`: 403, `{"model":"o3"`: 403, `[{"model":"o3"}]`: 403, `{"\u006dodel":"o3"}`: 403,
	} {
		for _, kind := range []string{"application/json", "text/plain"} {
			if kind == "text/plain" && !strings.HasPrefix(strings.TrimSpace(body), "{") {
				continue
			}
			res, text := b.post(t, "/v1/x", body, "Authorization", "Bearer "+token, "Content-Type", kind)
			if res.StatusCode != want {
				t.Errorf("%.60s as %s: got %d %s, want %d", body, kind, res.StatusCode, text, want)
			}
		}
	}
	if res, _ := b.post(t, "/v1/x", `{"model":"gpt-4o"}`, "Authorization", "Bearer "+token, "Content-Encoding", "gzip"); res.StatusCode != http.StatusForbidden {
		t.Errorf("got %d for a body that can't be read, want 403", res.StatusCode)
	}
}

// A client's queue has a bound of its own, and others still get in.
func TestClients_HaveQueuesOfTheirOwn(t *testing.T) {
	t.Parallel()
	begun, end := make(chan struct{}, 3), make(chan struct{})
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		begun <- struct{}{}
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}, options{
		pool: func(c *caller.Config) { c.Concurrency = 1 },
		gateway: func(c *gateway.Config) {
			c.Clients = []gateway.Client{
				{Name: "a", Tokens: []gateway.TokenHash{hash(t, token)}, MaxWaiting: 1}, {Name: "b", Tokens: []gateway.TokenHash{hash(t, other)}},
			}
		},
	})
	done := make(chan int, 3)
	send := func(token string) {
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, b.front.URL+"/v1/x", strings.NewReader("{}"))
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := b.front.Client().Do(req)
		if err != nil {
			done <- 0
			return
		}
		res.Body.Close()
		done <- res.StatusCode
	}
	for i, tok := range []string{token, token, other} {
		go send(tok)
		if i == 0 {
			testkit.Receive(t, "the first call is at the provider", begun)
		}
		testkit.Eventually(t, "the call is there", func() bool { s := b.pool.Stats(); return s.CallsInFlight+s.CallsWaiting == i+1 })
	}
	if res, text := b.post(t, "/v1/x", "{}", "Authorization", "Bearer "+token); res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "1" {
		t.Errorf("got %d %s, want 429 for the second that waits", res.StatusCode, text)
	}
	close(end)
	for range 3 {
		if status := testkit.Receive(t, "the end", done); status != http.StatusOK {
			t.Errorf("got %d, want 200", status)
		}
	}
}

// A client's ceiling bounds the priority that its requests ask for.
func TestClients_HaveAPriorityCeiling(t *testing.T) {
	t.Parallel()
	seen := make(chan caller.Priority, 10)
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {}, options{
		pool: func(c *caller.Config) {
			c.Hooks.Admitted = func(_ context.Context, a caller.Admission) { seen <- a.Priority }
		},
		gateway: func(c *gateway.Config) {
			c.Clients = []gateway.Client{
				{Name: "low", Tokens: []gateway.TokenHash{hash(t, token)}, Ceiling: caller.PriorityLow},
				{Name: "high", Tokens: []gateway.TokenHash{hash(t, other)}, Ceiling: caller.PriorityHigh},
			}
		},
	})
	for _, test := range []struct {
		token, asked string
		want         caller.Priority
	}{
		{token, "high", caller.PriorityLow}, {token, "", caller.PriorityLow}, {token, "low", caller.PriorityLow},
		{other, "high", caller.PriorityHigh}, {other, "", caller.PriorityNormal}, {other, "low", caller.PriorityLow},
	} {
		b.post(t, "/v1/x", "{}", "Authorization", "Bearer "+test.token, "X-Penstock-Priority", test.asked)
		if got := testkit.Receive(t, "the admission", seen); got != test.want {
			t.Errorf("asked for %q: got priority %v, want %v", test.asked, got, test.want)
		}
	}
}
