package caller_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
)

// The next route is tried after an *Error that isn't a client error, while the context goes on.
func TestFallback_TriesRoutesInOrder(t *testing.T) {
	t.Parallel()
	pool := &caller.Error{Pool: "p", Err: caller.ErrNoKeys}
	mistake := &caller.Error{Pool: "p", Attempts: 1, Outcome: caller.ClientError, Err: errors.New("a mistake")}
	route := func(v int, err error) func(context.Context) (int, error) {
		return func(context.Context) (int, error) { return v, err }
	}
	if v, err := caller.Fallback(t.Context(), route(0, pool), route(0, pool), route(7, nil), route(8, nil)); v != 7 || err != nil {
		t.Errorf("got %d, %v, want 7 from the third route", v, err)
	}
	for name, failure := range map[string]error{"client error": mistake, "not the pool's": errors.New("other")} {
		_, err := caller.Fallback(t.Context(), route(0, pool), route(0, failure), route(7, nil))
		if !errors.Is(err, failure) || !errors.Is(err, caller.ErrNoKeys) {
			t.Errorf("%s: got %v, want it and the first route's error", name, err)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := caller.Fallback(ended, route(0, pool), route(7, nil)); err == nil {
		t.Error("got success after the context had ended, want an error")
	}
	if _, err := caller.Fallback[int](t.Context()); err == nil {
		t.Error("got success without a route, want an error")
	}
}

// A request that a provider fails to serve uses the next route. A client error doesn't.
func TestFallbackTransport_TriesRoutesInOrder(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	var seen []string
	base := func(name string, status int) tripper {
		return func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			r.Body.Close()
			seen = append(seen, fmt.Sprint(name, " ", string(body)))
			res := ok(r)
			res.StatusCode = status
			return res, nil
		}
	}
	once := caller.Options{Idempotency: caller.IdempotencyNo}
	for name, test := range map[string]struct {
		status, want int
		seen         string
	}{
		"works":        {200, 200, `first {"model":"large","n":1}`},
		"fails":        {500, 200, `first {"model":"large","n":1}, second {"model":"small","n":1}`},
		"client error": {400, 400, `first {"model":"large","n":1}`},
	} {
		seen = nil
		first := join(t, rdb, quick, func(cfg *caller.Config) { cfg.Name = "first " + name })
		second := join(t, rdb, quick, func(cfg *caller.Config) { cfg.Name = "second " + name })
		both, err := caller.FallbackTransport(
			caller.FallbackRoute{Transport: first.Transport(base("first", test.status), caller.TransportConfig{ErrorResponses: true})},
			caller.FallbackRoute{Transport: second.Transport(base("second", 200), caller.TransportConfig{ErrorResponses: true}), Change: caller.UseModel("small")},
		)
		if err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequestWithContext(caller.WithOptions(t.Context(), once), http.MethodPost, "http://host.invalid/v1",
			strings.NewReader(`{"model":"large","n":1}`))
		res, err := (&http.Client{Transport: both}).Do(req)
		if err != nil {
			t.Fatalf("%s: got %v, want a response", name, err)
		}
		res.Body.Close()
		if got := strings.Join(seen, ", "); res.StatusCode != test.want || got != test.seen {
			t.Errorf("%s: got status %d after the requests %s, want %d, %s", name, res.StatusCode, got, test.want, test.seen)
		}
		if a, b := first.Stats().CallsInFlight, second.Stats().CallsInFlight; a+b != 0 {
			t.Errorf("%s: got %d and %d calls in flight, want 0", name, a, b)
		}
	}
	if _, err := caller.FallbackTransport(caller.FallbackRoute{}); err == nil {
		t.Error("got a fallback for a route without a Transport, want an error")
	}
}

// If all routes fail, the response is that of the last, also if its pool refuses the call.
func TestFallbackTransport_ReturnsTheLastRoutesResponse(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	full := func(pool string) *caller.Transport {
		c := join(t, rdb, limits(caller.Limit{Metric: caller.Requests, Rate: 1, Period: time.Hour}), func(cfg *caller.Config) {
			cfg.Name = pool
		})
		if _, err := caller.Do(t.Context(), c, nil, nop); err != nil {
			t.Fatal(err)
		}
		return c.Transport(tripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("was sent") }), caller.TransportConfig{ErrorResponses: true})
	}
	both, err := caller.FallbackTransport(caller.FallbackRoute{Transport: full("a")}, caller.FallbackRoute{Transport: full("b")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := both.RoundTrip(request(t, ctx, http.MethodPost))
	if err != nil {
		t.Fatal(err)
	}
	if e := caller.ErrorOf(res); res.StatusCode != 429 || e == nil || e.Pool != "b" || !errors.Is(e, caller.ErrDeadline) {
		t.Errorf("got status %d, %v, want 429 and ErrDeadline of pool b", res.StatusCode, e)
	}
}

// A redirect to another host that FallbackTransport follows carries no key.
func TestFallbackTransport_SendsNoKeyToAnotherHost(t *testing.T) {
	t.Parallel()
	var foreign http.Header
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { foreign = r.Header }))
	defer elsewhere.Close()
	server, _, c := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) })
	both, err := caller.FallbackTransport(caller.FallbackRoute{Transport: c.Transport(nil, caller.TransportConfig{ErrorResponses: true})})
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: both}).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if foreign == nil || foreign.Get("Authorization") != "" {
		t.Errorf("got the headers %v at the other host, want none with the key", foreign)
	}
}

// A timeout of a call is a timeout for users of http.Client, and a StatusError holds no credentials.
func TestError_SaysTimeoutAndHoldsNoCredentials(t *testing.T) {
	t.Parallel()
	server, client, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
		}
		w.WriteHeader(http.StatusBadRequest)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/hang", nil)
	if _, err := client.Do(req); !os.IsTimeout(err) {
		t.Errorf("got %v, want a timeout", err)
	}
	req, _ = http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/bad?key="+canary, nil)
	req.Header.Set("X-Api-Key", canary)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	var s *caller.StatusError
	if err := caller.CheckResponse(res); !errors.As(err, &s) || s.Request.URL.Path != "/bad" {
		t.Fatalf("got %v, want a StatusError with its path", err)
	}
	if text := fmt.Sprint(s.Request.Header, s.Request.URL); strings.Contains(text, canary) {
		t.Errorf("got %s, want no credentials", text)
	}
}
