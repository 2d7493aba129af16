package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/gateway"
	"github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/internal/redistest"
)

const chat = `{"model":"gpt-4o","max_tokens":20,"messages":[{"role":"user","content":"hello to all of you, once more"}]}`

// BenchmarkGateway measures requests through the gateway and through a plain reverse proxy, to the same provider.
func BenchmarkGateway(b *testing.B) {
	answer := []byte(`{"id":"x","object":"chat.completion","choices":[{"message":{"role":"assistant","content":"` +
		strings.Repeat("an answer of some length ", 20) + `"}}],"usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30}}`)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	}))
	defer upstream.Close()
	at, _ := url.Parse(upstream.URL)
	for _, impl := range []string{"plain", "ours"} {
		for _, callers := range []int{1, 64, 512} {
			b.Run(fmt.Sprintf("impl=%s/callers=%d", impl, callers), func(b *testing.B) {
				base := caller.NewHTTPTransport(1024)
				base.DisableCompression = true
				defer base.CloseIdleConnections()
				var h http.Handler = &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(at) }, Transport: base}
				if impl == "ours" {
					h = benchGateway(b, base, at)
				}
				front := httptest.NewServer(h)
				defer front.Close()
				press(b, front.URL, callers)
			})
		}
	}
}

// benchGateway returns a gateway whose limits don't delay anything.
func benchGateway(b *testing.B, base http.RoundTripper, at *url.URL) *gateway.Gateway {
	cfg := caller.Config{
		Name: "bench", Profile: provider.OpenAI(), Keys: []caller.Key{{ID: "k1", Secret: caller.NewSecret(canary)}, {ID: "k2", Secret: caller.NewSecret(other)}},
		Limits: []caller.Limit{
			{Metric: caller.Requests, Rate: 1 << 40, Period: time.Second, Algorithm: caller.Bucket},
			{Metric: caller.Tokens, Rate: 1 << 40, Period: time.Second, Algorithm: caller.Bucket},
		},
		Concurrency: 10_000,
	}
	pool, err := caller.New(redistest.Client(b), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = pool.Close(b.Context()) })
	g, err := gateway.New([]gateway.Pool{{Name: "bench", Caller: pool, BaseURL: at, Profile: cfg.Profile, Base: base}}, gateway.Config{})
	if err != nil {
		b.Fatal(err)
	}
	return g
}

// press sends b.N requests by so many callers.
func press(b *testing.B, target string, callers int) {
	transport := caller.NewHTTPTransport(callers)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	send := func() error {
		res, err := client.Post(target+"/v1/chat/completions", "application/json", strings.NewReader(chat))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if _, err = io.Copy(io.Discard, res.Body); err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d", res.StatusCode)
		}
		return err
	}
	run := func(n int) {
		work := make(chan struct{}, n)
		for range n {
			work <- struct{}{}
		}
		close(work)
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for range work {
					if err := send(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	}
	run(2 * callers) // connections, and the script in Redis
	b.ReportAllocs()
	b.ResetTimer()
	run(b.N)
}
