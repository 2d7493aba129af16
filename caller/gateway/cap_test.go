package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/gateway"
	"github.com/penstock/penstock/internal/testkit"
)

// answer is the body of a chat completion that took 10 and 20 tokens.
const answer = `{"id":"x","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30}}`

func answering(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, answer)
}

// capped starts a bench whose gateway has the clients a, which is changed, and b.
func capped(t *testing.T, handler http.HandlerFunc, change func(*gateway.Client)) *bench {
	t.Helper()
	a := gateway.Client{Name: "a", Tokens: []gateway.TokenHash{hash(t, token)}}
	change(&a)
	return serve(t, handler, options{
		pool: func(c *caller.Config) { c.Hooks = gateway.Hooks() },
		gateway: func(c *gateway.Config) {
			c.Clients = []gateway.Client{a, {Name: "b", Tokens: []gateway.TokenHash{hash(t, other)}}}
			c.Prices = []gateway.Price{{Models: []string{"gpt-4o*"}, Input: 2.5, Output: 10}}
		},
	})
}

func (b *bench) ask(t *testing.T, token string) (*http.Response, string) {
	t.Helper()
	return b.post(t, "/v1/chat/completions", chat, "Authorization", "Bearer "+token)
}

// A call beyond a cap is refused in the provider's shape with an honest time, and other clients are served.
func TestCaps_RefuseWhatExceedsThem(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		caps gateway.Caps
		fit  int
	}{
		"requests":      {gateway.Caps{Requests: 3}, 3},
		"tokens":        {gateway.Caps{Tokens: 100}, 3},        // 30 a call, estimated at more than 20
		"micro-dollars": {gateway.Caps{Microdollars: 1000}, 4}, // 225 a call
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := capped(t, answering, func(c *gateway.Client) { c.PerDay = test.caps })
			for i := range test.fit {
				if res, text := b.ask(t, token); res.StatusCode != http.StatusOK {
					t.Fatalf("call %d: got %d %s, want 200", i, res.StatusCode, text)
				}
			}
			var res *http.Response
			var text string
			for range 2 { // an estimate can be lower than what a call really takes
				if res, text = b.ask(t, token); res.StatusCode != http.StatusOK {
					break
				}
			}
			after, _ := strconv.Atoi(res.Header.Get("Retry-After"))
			left := time.Until(time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)).Seconds()
			if res.StatusCode != http.StatusTooManyRequests || float64(after) < left-60 || float64(after) > left+60 && left > 60 ||
				res.Header.Get("X-Should-Retry") != "false" || res.Header.Get("Penstock-Error") != "client_cap" ||
				!strings.Contains(text, `"error"`) || !strings.Contains(text, name+" a day") {
				t.Errorf("got %d %v %s, want 429 for %s a day with the time until midnight, %.0f s", res.StatusCode, res.Header, text, name, left)
			}
			if res, text := b.ask(t, other); res.StatusCode != http.StatusOK {
				t.Errorf("got %d %s for another client, want 200", res.StatusCode, text)
			}
			b.permitsBack(t)
		})
	}
}

// A cap is exact over replicas, whatever reserves they hold.
func TestCaps_AreExactOverReplicas(t *testing.T) {
	t.Parallel()
	const most = 400
	var sent atomic.Int64
	b := capped(t, func(w http.ResponseWriter, r *http.Request) { sent.Add(1); answering(w, r) }, func(c *gateway.Client) { c.PerDay.Requests = most })
	var all sync.WaitGroup
	var ok, refused atomic.Int64
	for n := range 4 { // replicas
		g := b.gateway
		if n > 0 {
			g = b.replica(t, most)
		}
		for range 8 {
			all.Go(func() {
				for range most / 4 / 8 * 2 {
					switch b.through(t, g) {
					case http.StatusOK:
						ok.Add(1)
					case http.StatusTooManyRequests:
						refused.Add(1)
					}
				}
			})
		}
	}
	all.Wait()
	// What a replica still holds in reserve is used there.
	testkit.Eventually(t, "the whole cap is used", func() bool {
		if b.through(t, b.gateway) == http.StatusOK {
			ok.Add(1)
		}
		return ok.Load() >= most
	})
	if got := sent.Load(); got != most || ok.Load() != most || refused.Load() == 0 {
		t.Errorf("got %d requests at the provider, %d answered and %d refused, want %d at the provider", got, ok.Load(), refused.Load(), most)
	}
}

// A call that never reached the provider is refunded, and one that took less than estimated is charged what it took.
func TestCaps_AreSettledAfterTheAnswer(t *testing.T) {
	t.Parallel()
	var status atomic.Int64
	status.Store(http.StatusBadRequest)
	b := capped(t, func(w http.ResponseWriter, r *http.Request) {
		if s := int(status.Load()); s != http.StatusOK {
			w.WriteHeader(s)
			return
		}
		answering(w, r)
	}, func(c *gateway.Client) { c.PerDay.Tokens = 65 })
	for range 5 {
		if res, text := b.ask(t, token); res.StatusCode != http.StatusBadRequest {
			t.Fatalf("got %d %s, want the provider's 400: it takes no tokens", res.StatusCode, text)
		}
	}
	status.Store(http.StatusOK)
	for range 2 {
		if res, text := b.ask(t, token); res.StatusCode != http.StatusOK {
			t.Fatalf("got %d %s, want 200", res.StatusCode, text)
		}
	}
	if res, _ := b.ask(t, token); res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("got %d, want 429: 60 of 65 tokens are used", res.StatusCode)
	}
}

// What clients use is counted in Redis by day and model, and stays when the gateway is closed.
func TestUsage_IsCountedByClientAndModel(t *testing.T) {
	t.Parallel()
	b := capped(t, answering, func(c *gateway.Client) { c.PerMinute.Requests = 1000 })
	for range 3 {
		b.ask(t, token)
	}
	b.ask(t, other)
	if err := b.gateway.Close(testkit.Context(t)); err != nil {
		t.Fatal(err)
	}
	all, err := b.gateway.Usage(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatalf("got %v, %v, want the usage of two clients", all, err)
	}
	for i, want := range []gateway.ClientUsage{
		{Client: "a", Model: "gpt-4o", Requests: 3, InputTokens: 30, OutputTokens: 60, Microdollars: 675},
		{Client: "b", Model: "gpt-4o", Requests: 1, InputTokens: 10, OutputTokens: 20, Microdollars: 225},
	} {
		if want.Day = all[i].Day; all[i] != want || time.Since(want.Day) > 48*time.Hour {
			t.Errorf("got %+v, want %+v", all[i], want)
		}
	}
	if got := b.rdb.HGetAll(t.Context(), "penstock:gateway:{gateway}").Val()["c:a"]; !strings.HasSuffix(got, " 3 90 675") {
		t.Errorf("got counts %q, want 3 requests, 90 tokens, 675 micro-dollars and no reserve", got)
	}
	if res, _ := b.ask(t, token); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %d after Close, want 503", res.StatusCode)
	}
}

// replica returns another gateway with the bench's pool, and a cap of the client.
func (b *bench) replica(t *testing.T, most int64) *gateway.Gateway {
	t.Helper()
	pool := b.join(t, func(c *caller.Config) { c.Hooks = gateway.Hooks() })
	g, err := gateway.New([]gateway.Pool{pool}, gateway.Config{
		Redis:   b.rdb,
		Clients: []gateway.Client{{Name: "a", Tokens: []gateway.TokenHash{hash(t, token)}, PerDay: gateway.Caps{Requests: most}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return g
}

// through sends a request of client a through a gateway and returns the answer's status.
func (b *bench) through(t *testing.T, g *gateway.Gateway) int {
	req, err := http.NewRequestWithContext(testkit.Context(t), http.MethodPost, "http://gateway/v1/chat/completions", strings.NewReader(chat))
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	w := &statusWriter{header: http.Header{}}
	g.ServeHTTP(w, req)
	if w.status != http.StatusOK && w.status != http.StatusTooManyRequests {
		t.Error(fmt.Errorf("status %d", w.status))
	}
	return w.status
}

type statusWriter struct {
	header http.Header
	status int
}

func (w *statusWriter) Header() http.Header { return w.header }

func (w *statusWriter) WriteHeader(status int) { w.status = status }

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return len(p), nil
}
