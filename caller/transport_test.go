package caller_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/retry"
)

// tripper is a base transport.
type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// serve runs an HTTP server and a client whose requests to it are calls of a pool with the secret canary.
func serve(t *testing.T, h http.HandlerFunc, change ...func(*caller.Config)) (*httptest.Server, *http.Client, *caller.Pool) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, append([]func(*caller.Config){func(cfg *caller.Config) {
		cfg.Keys = []caller.Key{{ID: "k", Secret: caller.NewSecret(canary)}}
		cfg.Concurrency = 2
		cfg.Retry = retry.Policy{Attempts: 3, Base: time.Millisecond}
	}}, change...)...)
	client := &http.Client{Transport: c.Transport(nil, caller.TransportConfig{})}
	t.Cleanup(client.CloseIdleConnections)
	return server, client, c
}

// RoundTrip doesn't change the request. The response's request is the user's and holds no key.
func TestTransport_LeavesTheRequestUnchanged(t *testing.T) {
	t.Parallel()
	var got http.Header
	server, _, c := serve(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header })
	req, _ := http.NewRequest(http.MethodPost, server.URL, strings.NewReader("body"))
	req.Header.Set("Authorization", "Bearer of the user's own")
	req.Header.Set("X-Mine", "mine")
	before := req.Header.Clone()
	transport := c.Transport(nil, caller.TransportConfig{})
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if !reflect.DeepEqual(req.Header, before) {
		t.Errorf("got the request's headers changed to %v, want %v", req.Header, before)
	}
	if got.Get("Authorization") != "Bearer "+canary || got.Get("X-Mine") != "mine" {
		t.Errorf("got the headers %v at the provider, want the key and X-Mine", got)
	}
	if res.Request != req {
		t.Errorf("got the response's request %v, want the user's", res.Request.Header)
	}
}

// A request with nil headers is sent.
func TestTransport_TakesARequestWithoutHeaders(t *testing.T) {
	t.Parallel()
	server, client, _ := serve(t, func(http.ResponseWriter, *http.Request) {})
	u, _ := url.Parse(server.URL)
	res, err := client.Transport.RoundTrip(&http.Request{Method: http.MethodGet, URL: u})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

// A response of any status is returned without an error, and its body can be read whole.
func TestTransport_ReturnsTheLastResponse(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 401, 402, 404, 429, 500, 503} {
		server, client, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, strings.Repeat("the reason ", 10_000)) // more than is read to judge it
		}, func(cfg *caller.Config) {
			cfg.Retry.Attempts = 1
		})
		res, err := client.Get(server.URL)
		if err != nil {
			t.Fatalf("%d: got %v, want a response", status, err)
		}
		body, err := io.ReadAll(res.Body)
		if res.StatusCode != status || len(body) != 110_000 || err != nil {
			t.Errorf("got status %d with %d bytes, %v, want %d with 110000", res.StatusCode, len(body), err, status)
		}
		res.Body.Close()
		if s := c.Stats(); s.CallsInFlight != 0 || s.CallsFailed != 1 || s.Attempts != 1 {
			t.Errorf("%d: got %+v, want one failed call of one attempt", status, s)
		}
	}
}

// The body of a 101 response can be written to, and holds the permit until it is closed.
func TestTransport_SwitchesProtocols(t *testing.T) {
	t.Parallel()
	server, client, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString(line)
		_ = rw.Flush()
	})
	req, _ := http.NewRequest(http.MethodGet, server.URL, nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	conn, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		t.Fatalf("got the body of a 101 as a %T, want an io.ReadWriteCloser", res.Body)
	}
	_, _ = io.WriteString(conn, "hello\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "hello\n" {
		t.Errorf("got %q, %v, want the echo", line, err)
	}
	if n := c.Stats().CallsInFlight; n != 1 {
		t.Errorf("got %d calls in flight while the connection is open, want 1", n)
	}
	conn.Close()
	if n := c.Stats().CallsInFlight; n != 0 {
		t.Errorf("got %d calls in flight after Close, want 0", n)
	}
}

// A redirect to another host carries no key.
func TestTransport_SendsNoKeyToAnotherHost(t *testing.T) {
	t.Parallel()
	var foreign http.Header
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		foreign = r.Header
	}))
	defer elsewhere.Close()
	var home []string
	server, client, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		home = append(home, r.URL.Path+" "+r.Header.Get("Authorization"))
		if r.URL.Path == "/a" {
			http.Redirect(w, r, "/b", http.StatusFound)
		} else {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		}
	})
	res, err := client.Get(server.URL + "/a")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if want := []string{"/a Bearer " + canary, "/b Bearer " + canary}; !reflect.DeepEqual(home, want) {
		t.Errorf("got the requests %q at the first host, want %q", home, want)
	}
	if foreign == nil || foreign.Get("Authorization") != "" {
		t.Errorf("got the headers %v at the other host, want none with the key", foreign)
	}
	if n := c.Stats().Attempts; n != 2 {
		t.Errorf("got %d attempts, want 2", n)
	}
}

// The Timeout of an http.Client is a deadline of the call.
func TestTransport_ObeysTheClientsTimeout(t *testing.T) {
	t.Parallel()
	server, client, c := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	client.Timeout = 300 * time.Millisecond
	_, err := client.Get(server.URL)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
	if s := c.Stats(); s.CallsInFlight != 0 || s.Attempts != 1 {
		t.Errorf("got %+v, want one attempt and no call in flight", s)
	}
}

// A base transport that returns nothing, or a response without a body, leaks no permit.
func TestTransport_ToleratesFaultyBaseTransports(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, concurrency(1), func(cfg *caller.Config) { cfg.Retry.Attempts = 1 })
	for name, base := range map[string]tripper{
		"no response":   func(*http.Request) (*http.Response, error) { return nil, nil },
		"no body":       func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 200}, nil },
		"no error body": func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 500}, nil },
	} {
		res, err := (&http.Client{Transport: c.Transport(base, caller.TransportConfig{})}).Get("http://host.invalid/")
		if err == nil {
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
		} else if name == "no response" {
			err = nil
		}
		if n := c.Stats().CallsInFlight; n != 0 || err != nil {
			t.Errorf("%s: got %v and %d calls in flight, want none", name, err, n)
		}
	}
}

// The error of a request that was not sent is an *Error, and the request's body is closed.
func TestTransport_ReturnsErrorsOfUnsentRequests(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken body")
	for name, test := range map[string]struct {
		change func(*http.Request)
		want   error
	}{
		"never fits": {func(r *http.Request) { r.Header.Set("Cost", "7") }, caller.ErrNeverFits},
		"GetBody":    {func(r *http.Request) { r.GetBody = func() (io.ReadCloser, error) { return nil, broken } }, broken},
		"canceled": {func(r *http.Request) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			*r = *r.WithContext(ctx)
		}, context.Canceled},
	} {
		server, _, c := serve(t, func(http.ResponseWriter, *http.Request) { t.Errorf("%s: got a request, want none", name) },
			limits(perMinute(5)), func(cfg *caller.Config) {
				cfg.Profile.Estimate = func(r *http.Request, _ []byte) caller.Cost {
					return caller.Cost{caller.Requests: int64(1 + 6*len(r.Header["Cost"]))}
				}
			})
		body := &closeCounter{Reader: strings.NewReader("body")}
		req, _ := http.NewRequest(http.MethodPost, server.URL, body)
		test.change(req)
		_, err := c.Transport(nil, caller.TransportConfig{}).RoundTrip(req)
		var e *caller.Error
		if !errors.Is(err, test.want) || !errors.As(err, &e) || e.Attempts != 0 {
			t.Errorf("%s: got %v (%T), want an *Error with %v", name, err, err, test.want)
		}
		if body.closed.Load() == 0 {
			t.Errorf("%s: got an open body, want it closed", name)
		}
	}
}
