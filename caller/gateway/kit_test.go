package gateway_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/gateway"
	"github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/retry"
)

const canary = "sk-canary-0123456789abcdef"

// bench is a gateway before a provider.
type bench struct {
	pool     *caller.Pool
	gateway  *gateway.Gateway
	provider *httptest.Server
	front    *httptest.Server
	rdb      *redis.Client
}

// options change the parts of a bench.
type options struct {
	pool    func(*caller.Config)
	gateway func(*gateway.Config)
	front   func(*httptest.Server) // before its start
	more    []gateway.Pool
}

// serve starts a bench with one pool, "main", of one key, "k1", before the provider.
func serve(t *testing.T, handler http.HandlerFunc, o options) *bench {
	t.Helper()
	b := &bench{rdb: redistest.Client(t), provider: httptest.NewServer(handler)}
	t.Cleanup(b.provider.Close)
	pool := b.join(t, o.pool)
	b.pool = pool.Caller
	cfg := gateway.Config{Redis: b.rdb}
	if o.gateway != nil {
		o.gateway(&cfg)
	}
	var err error
	if b.gateway, err = gateway.New(append([]gateway.Pool{pool}, o.more...), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		if err := b.gateway.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	b.front = httptest.NewUnstartedServer(b.gateway)
	if o.front != nil {
		o.front(b.front)
	}
	b.front.Start()
	t.Cleanup(b.front.Close)
	return b
}

// join returns a pool at the bench's provider.
func (b *bench) join(t *testing.T, change func(*caller.Config)) gateway.Pool {
	t.Helper()
	cfg := caller.Config{
		Name: "main", Keys: []caller.Key{{ID: "k1", Secret: caller.NewSecret(canary)}},
		Profile: provider.OpenAI(), Concurrency: 100,
		Retry: retry.Policy{Attempts: 3, Base: time.Millisecond},
	}
	if change != nil {
		change(&cfg)
	}
	pool, err := caller.New(b.rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		if err := pool.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	at, err := url.Parse(b.provider.URL)
	if err != nil {
		t.Fatal(err)
	}
	base := caller.NewHTTPTransport(0)
	base.DisableCompression = true
	t.Cleanup(base.CloseIdleConnections)
	return gateway.Pool{Name: cfg.Name, Caller: pool, BaseURL: at, Profile: cfg.Profile, Base: base}
}

// post sends a JSON body and returns the answer with its body read.
func (b *bench) post(t *testing.T, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(testkit.Context(t), http.MethodPost, b.front.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return b.send(t, req)
}

func (b *bench) send(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := b.front.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

// permitsBack waits until no call is in flight.
func (b *bench) permitsBack(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "no request is in flight", func() bool {
		s := b.pool.Stats()
		return b.gateway.InFlight() == 0 && s.CallsInFlight == 0 && s.CallsWaiting == 0
	})
}
