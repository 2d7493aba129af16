package caller_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	profiles "github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/internal/testkit"
)

const answer = `{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`

func withProfile(p caller.Profile) func(*caller.Config) {
	return func(cfg *caller.Config) { cfg.Profile = p }
}

// postChat sends a request that can be repeated, and returns the body of the response.
func postChat(t *testing.T, client *http.Client, target string, header ...string) (string, error) {
	t.Helper()
	req, _ := http.NewRequestWithContext(testkit.Context(t), http.MethodPost, target, strings.NewReader(`{"model":"m","max_tokens":10,"messages":[]}`))
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

func compressed(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.Bytes()
}

// A response of status 200 without an answer in it is a failed attempt: an error, an empty body, a cut one. So is a
// compressed one.
func TestTransport_RetriesSuccessesWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		profile          caller.Profile
		path, kind, body string
		gzip             bool
	}{
		"error object":   {profiles.OpenAI(), "/v1/chat/completions", "application/json", `{"error":{"message":"limit","code":503}}`, false},
		"compressed":     {profiles.OpenAI(), "/v1/chat/completions", "application/json", `{"error":{"message":"limit","code":503}}`, true},
		"first event":    {profiles.Anthropic(), "/v1/messages", "text/event-stream", "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n", false},
		"later event":    {profiles.OpenAI(), "/v1/responses", "text/event-stream", "data: {\"type\":\"response.created\"}\n\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_is_overloaded\",\"message\":\"x\"}}}\n\n", false},
		"empty":          {profiles.OpenAI(), "/v1/chat/completions", "application/json", "", false},
		"blank lines":    {profiles.DeepSeek(), "/v1/chat/completions", "application/json", "\n\n\n", false},
		"cut":            {profiles.OpenAI(), "/v1/chat/completions", "application/json", `{"id":"x",`, false},
		"without events": {profiles.OpenAI(), "/v1/chat/completions", "text/event-stream", ": keep-alive\n\n", false},
	} {
		var n atomic.Int64
		server, client, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", test.kind)
			body := test.body
			if n.Add(1) > 1 {
				w.Header().Set("Content-Type", "application/json")
				body = answer
			}
			if test.gzip {
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write(compressed(body))
				return
			}
			_, _ = io.WriteString(w, body)
		}, withProfile(test.profile), func(cfg *caller.Config) {
			cfg.Keys = append(cfg.Keys, caller.Key{ID: "l", Secret: caller.NewSecret("other")})
		})
		want, header := answer, []string(nil)
		if test.gzip {
			want, header = string(compressed(answer)), []string{"Accept-Encoding", "gzip"}
		}
		got, err := postChat(t, client, server.URL+test.path, header...)
		if got != want || err != nil || n.Load() != 2 {
			t.Errorf("%s: got %q, %v after %d requests, want the answer after 2", name, got, err, n.Load())
		}
		if s := c.Stats(); s.CallsInFlight != 0 {
			t.Errorf("%s: got %d calls in flight, want 0", name, s.CallsInFlight)
		}
	}
}

// The first output of a stream is there before the server sends the next.
func TestTransport_HoldsNothingBackAfterTheVerdict(t *testing.T) {
	t.Parallel()
	first := "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n"
	read := make(chan struct{})
	server, client, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, first)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-read:
		case <-r.Context().Done():
		}
	}, withProfile(profiles.OpenAI()))
	req, _ := http.NewRequestWithContext(testkit.Context(t), http.MethodPost, server.URL+"/v1/chat/completions", strings.NewReader("{}"))
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got := make([]byte, len(first))
	if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != first {
		t.Errorf("got %q, %v, want the first event", got, err)
	}
	close(read)
}

// An error in the middle of a stream is passed on, and the fleet learns from it.
func TestTransport_LearnsFromAnErrorInAStream(t *testing.T) {
	t.Parallel()
	body := "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\ndata: {\"error\":{\"message\":\"limit\",\"code\":429}}\n\n"
	var cooled atomic.Int64
	server, client, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, body)
	}, withProfile(profiles.OpenAI()), func(cfg *caller.Config) {
		cfg.Hooks.CooledDown = func(context.Context, caller.Block) { cooled.Add(1) }
	})
	if got, err := postChat(t, client, server.URL+"/v1/chat/completions"); got != body || err != nil || cooled.Load() != 1 {
		t.Errorf("got %q, %v and %d cooldowns, want the stream unchanged and 1", got, err, cooled.Load())
	}
}

// A stream without a byte for IdleTimeout ends with ErrIdleTimeout, and its permit is released. Comments count as bytes, unless
// IgnoreKeepAlives is set. MaxHold ends a stream that goes on.
func TestTransport_EndsAStreamThatStalls(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		comments bool
		change   func(*caller.Config)
		want     error
	}{
		"silence":    {false, func(cfg *caller.Config) { cfg.IdleTimeout = 100 * time.Millisecond }, caller.ErrIdleTimeout},
		"keep-alive": {true, func(cfg *caller.Config) { cfg.IdleTimeout, cfg.IgnoreKeepAlives = 100*time.Millisecond, true }, caller.ErrIdleTimeout},
		"long": {true, func(cfg *caller.Config) {
			cfg.IdleTimeout, cfg.MaxHold = 2*time.Second, 300*time.Millisecond
		}, caller.ErrMaxHold},
	} {
		server, client, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n")
			_ = http.NewResponseController(w).Flush()
			for tick := time.NewTicker(10 * time.Millisecond); ; {
				select {
				case <-r.Context().Done():
					return
				case <-tick.C:
				}
				if test.comments {
					_, _ = io.WriteString(w, ": keep-alive\n\n")
					_ = http.NewResponseController(w).Flush()
				}
			}
		}, withProfile(profiles.OpenAI()), test.change)
		_, err := postChat(t, client, server.URL+"/v1/chat/completions")
		var e *caller.Error
		if !errors.Is(err, test.want) || !errors.As(err, &e) || e.Key != "k" {
			t.Errorf("%s: got %v, want an *Error that is %v", name, err, test.want)
		}
		if n := c.Stats().CallsInFlight; n != 0 {
			t.Errorf("%s: got %d calls in flight, want 0", name, n)
		}
	}
}

// With Whole, an answer that is cut, stalls or is empty is tried again.
func TestOptions_WholeRetriesWhatBreaksOff(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(http.ResponseWriter, *http.Request){
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, answer[:40])
		},
		"unfinished": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer[:60]) },
		"stalled": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, answer[:40])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"empty": func(http.ResponseWriter, *http.Request) {},
	} {
		var n atomic.Int64
		server, _, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if n.Add(1) == 1 {
				fail(w, r)
				return
			}
			_, _ = io.WriteString(w, answer)
		}, withProfile(profiles.OpenAI()), func(cfg *caller.Config) { cfg.IdleTimeout = 100 * time.Millisecond })
		client := &http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
			whole := caller.WithOptions(r.Context(), caller.Options{Whole: true})
			return c.Transport(nil, caller.TransportConfig{}).RoundTrip(r.WithContext(whole))
		})}
		if got, err := postChat(t, client, server.URL+"/v1/chat/completions"); got != answer || err != nil || n.Load() != 2 {
			t.Errorf("%s: got %q, %v after %d requests, want the answer after 2", name, got, err, n.Load())
		}
	}
}

// Behind a reverse proxy a request is estimated by its body, and is sent again.
func TestTransport_ReadsABodyThatCanBeReadOnce(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	server, _, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if n.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}, withProfile(profiles.OpenAI()), limits(caller.Limit{Metric: caller.Tokens, Rate: 1000, Period: time.Minute}))
	up, _ := url.Parse(server.URL)
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(up) }, Transport: c.Transport(nil, caller.TransportConfig{}),
	})
	defer front.Close()
	got, err := postChat(t, http.DefaultClient, front.URL+"/v1/chat/completions")
	if !strings.Contains(got, `"max_tokens":10`) || err != nil || n.Load() != 2 {
		t.Errorf("got %q, %v after %d requests, want the request's own body after 2", got, err, n.Load())
	}
}

// A long body isn't copied.
func TestTransport_DoesNotCopyALongBody(t *testing.T) { //nolint:paralleltest // it measures memory
	server, client, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) },
		withProfile(profiles.OpenAI()))
	big := strings.Repeat("x", 64<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	req, _ := http.NewRequestWithContext(context.Background(), http.MethodPut, server.URL, strings.NewReader(big))
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	runtime.ReadMemStats(&after)
	if grown := (after.TotalAlloc - before.TotalAlloc) >> 20; grown > 16 {
		t.Errorf("got %d MiB allocated for a body of 64 MiB, want at most 16", grown)
	}
}
