package caller_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/retry"
)

// closeCounter is a body that counts how often it is closed.
type closeCounter struct {
	io.Reader
	closed atomic.Int64
}

func (c *closeCounter) Close() error {
	c.closed.Add(1)
	return nil
}

// A request is sent again if it was not carried out or is idempotent, and if its body can be read again.
func TestTransport_RetriesWhatIsSafe(t *testing.T) {
	t.Parallel()
	type request struct {
		method, header string
		once           bool // the body can be read only once
	}
	get := request{method: http.MethodGet}
	post := request{method: http.MethodPost}
	marked := request{method: http.MethodPost, header: "Idempotency-Key"}
	stream := request{method: http.MethodPost, header: "Idempotency-Key", once: true}
	for _, test := range []struct {
		status int
		request
		again bool
	}{
		{503, get, true}, {503, post, false}, {503, marked, true}, {503, stream, false},
		{500, get, true}, {500, post, false}, {500, marked, true}, {500, stream, false},
		{429, get, true}, {429, post, true}, {429, marked, true}, {429, stream, false},
		{401, get, true}, {401, post, true}, {401, marked, true}, {401, stream, false},
		{402, post, true}, {400, get, false}, {404, marked, false}, {200, get, false},
	} {
		t.Run(fmt.Sprintf("%d %+v", test.status, test.request), func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var bodies []string
			server, client, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				mu.Lock()
				defer mu.Unlock()
				bodies = append(bodies, string(body))
				if len(bodies) == 1 {
					w.Header().Set("Retry-After-Ms", "1")
					w.WriteHeader(test.status)
				}
			}, keys(key("a"), key("b")))
			var body io.Reader
			want := ""
			if test.method != http.MethodGet {
				body, want = strings.NewReader("body"), "body"
			}
			if test.once {
				body = &closeCounter{Reader: body}
			}
			req, _ := http.NewRequestWithContext(t.Context(), test.method, server.URL, body)
			if test.header != "" {
				req.Header.Set(test.header, "1")
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			sent, status := 1, test.status
			if test.again {
				sent, status = 2, 200
			}
			if len(bodies) != sent || res.StatusCode != status || bodies[len(bodies)-1] != want {
				t.Errorf("got status %d after the bodies %q, want %d after %d", res.StatusCode, bodies, status, sent)
			}
			if s := c.Stats(); s.Attempts != int64(sent) || s.CallsInFlight != 0 {
				t.Errorf("got %+v, want no call in flight and an attempt for each request", s)
			}
			if b, ok := body.(*closeCounter); ok && b.closed.Load() == 0 {
				t.Error("got an open body, want it closed")
			}
		})
	}
}

// After a broken connection only idempotent requests are sent again. If no connection could be made, all are.
func TestTransport_RetriesAfterErrorsWhereSafe(t *testing.T) {
	t.Parallel()
	reset := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	errGaveUp := errors.New("a mistake")
	const neverSent = 20 // above Attempts: a connection that was never made is no attempt
	for _, test := range []struct {
		method string
		err    error
		sent   int
	}{
		{http.MethodGet, reset, 3}, {http.MethodPost, reset, 1},
		{http.MethodGet, refused, neverSent}, {http.MethodPost, refused, neverSent},
		{http.MethodGet, errors.New("a mistake"), 1},
	} {
		_, rdb := redistest.Mini(t)
		c := join(t, rdb, concurrency(1), func(cfg *caller.Config) {
			cfg.Retry = retry.Policy{Attempts: 3, Base: time.Millisecond, Max: time.Millisecond}
		})
		var bodies []*closeCounter
		req, _ := http.NewRequestWithContext(t.Context(), test.method, "http://host.invalid/", http.NoBody)
		if test.method == http.MethodPost {
			req.Body = &closeCounter{Reader: strings.NewReader("body")}
			bodies = append(bodies, req.Body.(*closeCounter))
			req.GetBody = func() (io.ReadCloser, error) {
				b := &closeCounter{Reader: strings.NewReader("body")}
				bodies = append(bodies, b)
				return b, nil
			}
		}
		sent := 0
		_, err := c.Transport(tripper(func(r *http.Request) (*http.Response, error) {
			sent++
			r.Body.Close()
			if test.sent == neverSent && sent == neverSent {
				return nil, errGaveUp
			}
			return nil, test.err
		}), caller.TransportConfig{}).RoundTrip(req)
		var e *caller.Error
		if !errors.Is(err, test.err) || errors.Is(err, errGaveUp) != (test.sent == neverSent) || !as(err, &e) || sent != test.sent || e.Attempts != sent || e.Key != "k" {
			t.Errorf("%s: got %v after %d requests, want %v after %d", test.method, err, sent, test.err, test.sent)
		}
		if s := c.Stats(); s.CallsInFlight != 0 || s.Attempts != int64(test.sent) {
			t.Errorf("got %+v, want no call in flight and an attempt for each request", s)
		}
		for i, b := range bodies {
			if b.closed.Load() == 0 {
				t.Errorf("%s: got body %d of %d open, want it closed", test.method, i, len(bodies))
			}
		}
	}
}

// The response before a retry is read and closed, so that the retry uses the same connection.
func TestTransport_RetriesOnOneConnection(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	var from sync.Map
	server, client, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		from.Store(r.RemoteAddr, true)
		if calls.Add(1)%3 != 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, strings.Repeat("busy ", 5000))
		}
	})
	for range 5 {
		res, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	conns := 0
	from.Range(func(any, any) bool { conns++; return true })
	if calls.Load() != 15 || conns != 1 {
		t.Errorf("got %d requests over %d connections, want 15 over 1", calls.Load(), conns)
	}
}
