package caller_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	way := func(v int, err error) func(context.Context) (int, error) {
		return func(context.Context) (int, error) { return v, err }
	}
	if v, err := caller.Fallback(t.Context(), way(0, pool), way(0, pool), way(7, nil), way(8, nil)); v != 7 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	for name, failure := range map[string]error{"fault": mistake, "not the pool's": errors.New("other")} {
		_, err := caller.Fallback(t.Context(), way(0, pool), way(0, failure), way(7, nil))
		if !errors.Is(err, failure) || !errors.Is(err, caller.ErrNoKeys) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := caller.Fallback(ended, way(0, pool), way(7, nil)); err == nil {
		t.Error("went on although the context had ended")
	}
	if _, err := caller.Fallback[int](t.Context()); err == nil {
		t.Error("no way succeeded")
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
		"works": {200, 200, `first {"model":"large","n":1}`},
		"fails": {500, 200, `first {"model":"large","n":1}, second {"model":"small","n":1}`},
		"fault": {400, 400, `first {"model":"large","n":1}`},
	} {
		seen = nil
		first := join(t, rdb, quick, func(cfg *caller.Config) { cfg.Name = "first " + name })
		second := join(t, rdb, quick, func(cfg *caller.Config) { cfg.Name = "second " + name })
		both, err := caller.FallbackTransport(
			caller.FallbackRoute{Transport: first.Transport(base("first", test.status), caller.TransportConfig{})},
			caller.FallbackRoute{Transport: second.Transport(base("second", 200), caller.TransportConfig{}), Change: caller.UseModel("small")},
		)
		if err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequestWithContext(caller.WithOptions(t.Context(), once), http.MethodPost, "http://host.invalid/v1",
			strings.NewReader(`{"model":"large","n":1}`))
		res, err := (&http.Client{Transport: both}).Do(req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		res.Body.Close()
		if got := strings.Join(seen, ", "); res.StatusCode != test.want || got != test.seen {
			t.Errorf("%s: status %d after %s", name, res.StatusCode, got)
		}
		if a, b := first.Stats().CallsInFlight, second.Stats().CallsInFlight; a+b != 0 {
			t.Errorf("%s: %d and %d in flight", name, a, b)
		}
	}
	if _, err := caller.FallbackTransport(caller.FallbackRoute{}); err == nil {
		t.Error("a way without a transport")
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
		return c.Transport(tripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("was sent") }), caller.TransportConfig{})
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
		t.Errorf("status %d, %v", res.StatusCode, e)
	}
}
