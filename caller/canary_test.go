package caller_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/retry"
)

// transcript collects all that gets out.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *transcript) add(v ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range v {
		fmt.Fprintf(&w.text, "%v %+v %#v\n", x, x, x)
		err, _ := x.(error)
		for ; err != nil; err = errors.Unwrap(err) {
			fmt.Fprintf(&w.text, "%v %+v\n", err, err)
		}
	}
}

// The secret of a key is in the requests to the provider only. However a call ends, the secret isn't in Redis, on the
// way there, or in an error, hook, figure or response.
func TestSecret_IsOnlyInRequests(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var out transcript
	monitored := monitor(t, server)
	var seen sync.Map
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("Authorization"), true)
		switch r.URL.Path {
		case "/reset":
			conn, _, _ := http.NewResponseController(w).Hijack()
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		case "/hang":
			<-r.Context().Done()
		default:
			status := 0
			_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
			w.Header().Set("Retry-After-Ms", "1")
			w.WriteHeader(status)
			// Some providers quote the key in their answers: that must not get further than to the caller.
			_, _ = io.WriteString(w, `{"error":{"code":"invalid_api_key","message":"Incorrect API key: `+canary+`"}}`)
		}
	}))
	defer provider.Close()
	hooks := caller.Hooks{
		Admitted:    func(_ context.Context, a caller.Admission) { out.add(a) },
		Attempted:   func(_ context.Context, a caller.Attempt) { out.add(a, a.Err) },
		CooledDown:  func(_ context.Context, c caller.Block) { out.add(c) },
		Disabled:    func(_ context.Context, c caller.Block) { out.add(c) },
		RedisFailed: func(_ context.Context, err error) { out.add(err) },
	}
	rdb := server.Client(t)
	for i, path := range []string{"/200", "/400", "/401", "/402", "/404", "/429", "/500", "/503", "/reset", "/hang"} {
		c := join(t, rdb, concurrency(2), limits(perMinute(100_000)), func(cfg *caller.Config) {
			cfg.Name = fmt.Sprint("p", i)
			cfg.Keys = []caller.Key{{ID: "k", Secret: caller.NewSecret(canary)}, {ID: "l", Secret: caller.NewSecret(canary + "2")}}
			cfg.Retry = retry.Policy{Attempts: 3, Base: time.Millisecond}
			cfg.Hooks = hooks
		})
		client := &http.Client{Transport: c.Transport(nil, caller.TransportConfig{}), Timeout: 300 * time.Millisecond}
		res, err := client.Get(provider.URL + path)
		out.add(err)
		if err == nil {
			out.add(res.Request.Header, res.Header, res.Request.URL)
			res.Body.Close()
		}
		client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err = caller.Do(ctx, c, nil, func(ctx context.Context, g *caller.Grant) (*http.Response, error) {
			out.add(g)
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, provider.URL+path, http.NoBody)
			req.Header.Set("Authorization", "Bearer "+g.Secret())
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				return nil, err
			}
			defer res.Body.Close()
			return nil, caller.CheckResponse(res)
		})
		cancel()
		out.add(err, c.Stats(), c)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if _, ok := seen.Load("Bearer " + canary); !ok {
		t.Error("got no request with the canary, want some")
	}
	for _, k := range rdb.Keys(t.Context(), "*").Val() {
		out.add(k, rdb.HGetAll(t.Context(), k).Val())
	}
	for name, text := range map[string]string{"what got out": out.text.String(), "MONITOR": monitored()} {
		if len(text) < 500 {
			t.Errorf("got %s as short as %q, want more", name, text)
		}
		if at := strings.Index(text, canary); at >= 0 {
			t.Errorf("got the canary in %s, want it in requests only: %q", name, text[max(0, at-300):min(len(text), at+100)])
		}
	}
}

// monitor returns a function that returns all commands that the server has received since.
func monitor(t *testing.T, server *redistest.Server) func() string {
	t.Helper()
	conn, err := net.Dial("unix", server.Socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_, _ = io.WriteString(conn, "MONITOR\r\n")
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || line != "+OK\r\n" {
		t.Fatal(line, err)
	}
	return func() string {
		rdb := redis.NewClient(server.Options())
		defer rdb.Close()
		rdb.Echo(context.Background(), "last command of the test")
		var all strings.Builder
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(line, "last command of the test") {
				return all.String()
			}
			all.WriteString(line)
		}
	}
}
