package caller_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
)

// brokenReader fails after its data.
type brokenReader struct{ data io.Reader }

var errBroken = errors.New("broken")

func (b brokenReader) Read(p []byte) (int, error) {
	n, err := b.data.Read(p)
	if err != nil {
		err = errBroken
	}
	return n, err
}

// The permit is held until the response's body is read to its end or closed, and released once.
func TestTransport_HoldsThePermitUntilTheBodyEnds(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, concurrency(1))
	for name, test := range map[string]struct {
		method string
		status int
		body   io.Reader // nil: none
		end    func(*testing.T, io.ReadCloser)
		early  bool // it is released before the body is read
	}{
		"read":         {"GET", 200, bytes.NewReader(make([]byte, 5000)), read, false},
		"closed":       {"GET", 200, bytes.NewReader(make([]byte, 5000)), closed, false},
		"both":         {"GET", 200, bytes.NewReader(make([]byte, 5000)), func(t *testing.T, b io.ReadCloser) { read(t, b); closed(t, b); closed(t, b) }, false},
		"broken":       {"GET", 200, brokenReader{bytes.NewReader(make([]byte, 5000))}, func(_ *testing.T, b io.ReadCloser) { _, _ = io.ReadAll(b) }, false},
		"empty":        {"GET", 200, bytes.NewReader(nil), read, false},
		"none":         {"GET", 200, nil, read, true},
		"HEAD":         {"HEAD", 200, bytes.NewReader(nil), read, true},
		"no content":   {"GET", 204, bytes.NewReader(nil), read, true},
		"not modified": {"GET", 304, bytes.NewReader(nil), read, true},
		"error status": {"GET", 404, bytes.NewReader(make([]byte, 200_000)), read, true},
	} {
		base := tripper(func(r *http.Request) (*http.Response, error) {
			res := &http.Response{StatusCode: test.status, Body: http.NoBody, Request: r}
			if test.body != nil {
				res.Body = io.NopCloser(test.body)
			}
			return res, nil
		})
		req, _ := http.NewRequest(test.method, "http://host.invalid/", nil)
		res, err := c.Transport(base, caller.TransportConfig{}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if back := c.Stats().CallsInFlight == 0; back != test.early {
			t.Errorf("%s: got the permit released before the body is read: %v, want %v", name, back, test.early)
		}
		test.end(t, res.Body)
		if n := c.Stats().CallsInFlight; n != 0 {
			t.Errorf("%s: got %d calls in flight, want 0", name, n)
		}
	}
}

func read(t *testing.T, b io.ReadCloser) {
	t.Helper()
	if _, err := io.Copy(io.Discard, b); err != nil {
		t.Error(err)
	}
}

func closed(t *testing.T, b io.ReadCloser) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// A stream whose request is cancelled releases the permit.
func TestTransport_ReleasesACancelledStream(t *testing.T) {
	t.Parallel()
	server, client, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write(make([]byte, 1000))
			_ = http.NewResponseController(w).Flush()
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(res.Body, make([]byte, 3000)); err != nil {
		t.Fatal(err)
	}
	if n := c.Stats().CallsInFlight; n != 1 {
		t.Errorf("got %d calls in flight in the middle of the stream, want 1", n)
	}
	cancel()
	if _, err := io.Copy(io.Discard, res.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v from the cancelled stream, want context.Canceled", err)
	}
	if n := c.Stats().CallsInFlight; n != 0 {
		t.Errorf("got %d calls in flight after the end, want 0", n)
	}
}

// A panic of the function, the base transport or the profile releases the permit.
func TestPanic_ReleasesThePermit(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	boom := func() { panic("boom") }
	c := join(t, rdb, concurrency(1))
	judge := join(t, rdb, concurrency(1), func(cfg *caller.Config) {
		cfg.Profile.Judge = func(*http.Response, []byte) caller.Verdict { boom(); return caller.Verdict{} }
	})
	get := func(c *caller.Pool, base tripper) {
		req, _ := http.NewRequest(http.MethodGet, "http://host.invalid/", nil)
		_, _ = c.Transport(base, caller.TransportConfig{}).RoundTrip(req)
	}
	for name, call := range map[string]func(){
		"Do": func() {
			_, _ = caller.Do(t.Context(), c, nil, func(context.Context, *caller.Grant) (int, error) { boom(); return 0, nil })
		},
		"transport": func() { get(c, func(*http.Request) (*http.Response, error) { boom(); return nil, nil }) },
		"judge": func() {
			get(judge, func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 200}, nil })
		},
	} {
		func() {
			defer func() {
				if recover() != "boom" {
					t.Errorf("%s: got no panic, want that of the function", name)
				}
			}()
			call()
		}()
		if n := c.Stats().CallsInFlight + judge.Stats().CallsInFlight; n != 0 {
			t.Errorf("%s: got %d calls in flight, want 0", name, n)
		}
	}
}

// The body of a response that is followed by another attempt is closed, and so is that of a fallback's failed route and
// of a response that several requests share. Otherwise its connection is lost.
func TestTransport_ClosesTheBodiesItDoesNotReturn(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	var bodies []*closeCounter
	base := func(failures int) tripper {
		return func(r *http.Request) (*http.Response, error) {
			res := ok(r)
			if caller.AttemptFrom(r.Context()) <= failures {
				res.StatusCode = http.StatusServiceUnavailable
			}
			body := &closeCounter{Reader: bytes.NewReader(make([]byte, 200_000))} // more than is read to judge or to drain it
			bodies = append(bodies, body)
			res.Body = body
			return res, nil
		}
	}
	pool := join(t, rdb, quick)
	other := join(t, rdb, quick, func(cfg *caller.Config) { cfg.Name = "other" })
	fallback, err := caller.FallbackTransport(
		caller.FallbackRoute{Transport: pool.Transport(base(3), caller.TransportConfig{})},
		caller.FallbackRoute{Transport: other.Transport(base(0), caller.TransportConfig{})},
	)
	if err != nil {
		t.Fatal(err)
	}
	shared := caller.WithOptions(t.Context(), caller.Options{DedupKey: "question"})
	for name, test := range map[string]struct {
		transport http.RoundTripper
		ctx       context.Context
		open      []bool // by response; the one that is returned stays open
	}{
		"retry":    {pool.Transport(base(2), caller.TransportConfig{}), t.Context(), []bool{false, false, true}},
		"give up":  {pool.Transport(base(3), caller.TransportConfig{}), t.Context(), []bool{false, false, true}},
		"fallback": {fallback, t.Context(), []bool{false, false, false, true}},
		"dedup":    {pool.Transport(base(1), caller.TransportConfig{}), shared, []bool{false, false}},
	} {
		bodies = nil
		res, err := test.transport.RoundTrip(request(t, test.ctx, http.MethodGet))
		if err != nil {
			t.Fatal(err)
		}
		var open []bool
		for _, b := range bodies {
			open = append(open, b.closed.Load() == 0)
		}
		if !slices.Equal(open, test.open) {
			t.Errorf("%s: got open bodies %v, want %v", name, open, test.open)
		}
		res.Body.Close()
		for i, b := range bodies {
			if n := b.closed.Load(); n != 1 {
				t.Errorf("%s: got response %d closed %d times at the end, want 1", name, i, n)
			}
		}
	}
}
