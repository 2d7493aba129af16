package caller_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/scripts"
)

// If a call ends without a response of the provider, the Transport's own response says why, and that a retry is
// useless.
func TestTransport_RespondsToItsErrors(t *testing.T) {
	t.Parallel()
	reset := func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNRESET }
	for name, test := range map[string]struct {
		change func(*caller.Config)
		base   tripper
		close  bool
		calls  int // of which the last one is checked
		status int
		code   string
		want   error
		after  bool
	}{
		"never fits": {change: limits(perMinute(2)), calls: 1, status: 413, code: "never_fits", want: caller.ErrNeverFits},
		"deadline": {
			change: limits(caller.Limit{Metric: caller.Requests, Rate: 1, Period: time.Hour}), calls: 2,
			status: 429, code: "deadline", want: caller.ErrDeadline, after: true,
		},
		"closed": {close: true, calls: 1, status: 503, code: "closed", want: caller.ErrClosed},
		"no key": {
			base: func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 402, Header: http.Header{}, Body: http.NoBody}, nil
			},
			calls: 2, status: 503, code: "no_keys", want: caller.ErrNoKeys, after: true,
		},
		"no route": {base: reset, calls: 1, status: 502, code: "no_answer", want: syscall.ECONNRESET},
		"timeout": {
			base:  func(*http.Request) (*http.Response, error) { return nil, &timeoutError{} },
			calls: 1, status: 504, code: "timeout", want: &timeoutError{},
		},
	} {
		_, rdb := redistest.Mini(t)
		c := join(t, rdb, func(cfg *caller.Config) {
			cfg.Retry.Attempts, cfg.Retry.Base = 2, time.Millisecond
			cfg.Profile.Estimate = func(r *http.Request, _ []byte) caller.Cost {
				if name == "never fits" {
					return caller.Cost{caller.Requests: 3}
				}
				return nil
			}
			if test.change != nil {
				test.change(cfg)
			}
		})
		if test.close {
			c.Close(t.Context())
		}
		if test.base == nil {
			test.base = func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Header: http.Header{}}, nil
			}
		}
		client := &http.Client{Transport: c.Transport(test.base, caller.TransportConfig{ErrorResponses: true})}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var res *http.Response
		for range test.calls {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://host.invalid/", nil)
			var err error
			if res, err = client.Do(req); err != nil {
				t.Fatalf("%s: got %v, want a response", name, err)
			}
		}
		if res.StatusCode != test.status || res.Header.Get("Penstock-Error") != test.code ||
			res.Header.Get("X-Should-Retry") != "false" || (res.Header.Get("Retry-After-Ms") != "") != test.after {
			t.Errorf("%s: got %d, %v, want %d, %s, X-Should-Retry: false, Retry-After-Ms: %v", name, res.StatusCode, res.Header, test.status, test.code, test.after)
		}
		if e := caller.ErrorOf(res); e == nil || !errors.Is(e, test.want) {
			t.Errorf("%s: got %v from ErrorOf, want %v", name, e, test.want)
		}
		body, err := io.ReadAll(res.Body)
		var said struct {
			Error struct{ Message, Type, Code string }
		}
		if err != nil || json.Unmarshal(body, &said) != nil || said.Error.Code != test.code ||
			!strings.Contains(said.Error.Message, `pool "p"`) || int64(len(body)) != res.ContentLength {
			t.Errorf("%s: got the body %s, %v, want the code %s and the pool's name", name, body, err, test.code)
		}
		if err := caller.CheckResponse(res); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v from CheckResponse, want %v", name, err, test.want)
		}
	}
}

// By default the Transport returns the error of a call, which errors.As finds in the error of an http.Client. Its Status
// names the cause for each kind of error.
func TestTransport_ReturnsErrors(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, func(cfg *caller.Config) { cfg.Retry.Attempts = 1 })
	client := &http.Client{Transport: c.Transport(tripper(func(*http.Request) (*http.Response, error) {
		return nil, syscall.ECONNRESET
	}), caller.TransportConfig{})}
	res, err := client.Get("http://host.invalid/")
	var e *caller.Error
	if res != nil || !errors.As(err, &e) || e.Pool != "p" || !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, %v, want an *Error of the pool", res, err)
	}
	broken, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://host.invalid/", iotest.ErrReader(errors.New("broken")))
	broken.Header.Set("Content-Type", "application/json")
	_, unread := client.Do(broken)
	wrong, _ := http.NewRequestWithContext(caller.WithOptions(t.Context(), caller.Options{Priority: 77}), http.MethodGet, "http://host.invalid/", nil)
	_, invalid := client.Do(wrong)
	for name, test := range map[string]struct {
		err    error
		status int
		reason string
	}{
		"reset":         {err, 502, "no_answer"},
		"body":          {unread, 400, "bad_request"},
		"options":       {invalid, 400, "bad_request"},
		"no model":      {&caller.Error{Err: caller.ErrNoModel}, 404, "no_model"},
		"queue full":    {&caller.Error{Err: caller.ErrQueueFull}, 503, "queue_full"},
		"circuit":       {&caller.Error{Err: caller.ErrCircuitOpen}, 503, "circuit_open"},
		"redis":         {&caller.Error{Err: &scripts.Error{}}, 503, "unavailable"},
		"no capacity":   {&caller.Error{Err: caller.ErrDeadline, Metric: caller.Tokens}, 429, "deadline"},
		"throttled":     {&caller.Error{Err: caller.ErrDeadline, Outcome: caller.Throttled, Attempts: 1}, 429, "deadline"},
		"no time":       {&caller.Error{Err: caller.ErrDeadline, Outcome: caller.Transient, Attempts: 1}, 504, "timeout"},
		"refused":       {&caller.Error{Err: syscall.ECONNREFUSED, Outcome: caller.Transient}, 502, "no_answer"},
		"stalled":       {&caller.Error{Err: caller.ErrIdleTimeout, Outcome: caller.Transient, Attempts: 1}, 504, "timeout"},
		"waits for its": {&caller.Error{Err: caller.ErrTimeout}, 504, "timeout"},
	} {
		e, ok := errors.AsType[*caller.Error](test.err)
		if !ok {
			t.Errorf("%s: got %v, want an *Error", name, test.err)
			continue
		}
		if status, reason := e.Status(); status != test.status || reason != test.reason {
			t.Errorf("%s: got %d %s for %v, want %d %s", name, status, reason, e, test.status, test.reason)
		}
	}
}

type timeoutError struct{}

func (*timeoutError) Error() string     { return "too slow" }
func (*timeoutError) Timeout() bool     { return true }
func (*timeoutError) Temporary() bool   { return true }
func (*timeoutError) Is(err error) bool { _, ok := err.(*timeoutError); return ok }

// The last response of a call that failed has X-Should-Retry: false. Responses of the provider stand for no error.
func TestTransport_MarksTheLastResponse(t *testing.T) {
	t.Parallel()
	server, client, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	for path, want := range map[string]string{"/good": "", "/bad": "false"} {
		res, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("X-Should-Retry"); got != want || caller.ErrorOf(res) != nil {
			t.Errorf("%s: got X-Should-Retry %q, ErrorOf %v, want %q and nil", path, got, caller.ErrorOf(res), want)
		}
	}
	if n := c.Stats().Attempts; n != 4 {
		t.Errorf("got %d attempts, want 1 and 3", n)
	}
	if caller.ErrorOf(nil) != nil || caller.ErrorOf(&http.Response{}) != nil {
		t.Error("got an error from a response without a request, want nil")
	}
}
