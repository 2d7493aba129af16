package caller_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/retry"
)

// hangs is a base transport whose first n attempts end with their context. The others get a response.
func hangs(n int, respond func(*http.Request) *http.Response) tripper {
	return func(r *http.Request) (*http.Response, error) {
		if caller.AttemptFrom(r.Context()) <= n {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		return respond(r), nil
	}
}

func ok(*http.Request) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok"))}
}

func quick(cfg *caller.Config) {
	cfg.Retry = retry.Policy{Attempts: 3, Base: time.Millisecond}
	cfg.Concurrency = 2
}

func request(t *testing.T, ctx context.Context, method string) *http.Request { //nolint:revive // t first, as in every helper
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://host.invalid/v1/x", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// An attempt that takes longer than AttemptTimeout is cancelled, and tried again where that is safe.
func TestAttemptTimeout_BoundsEachAttempt(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, quick, func(cfg *caller.Config) { cfg.AttemptTimeout = 20 * time.Millisecond })
	res, err := c.Transport(hangs(2, ok), caller.TransportConfig{}).RoundTrip(request(t, t.Context(), http.MethodGet))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	// A request that may have been carried out isn't sent again.
	_, err = c.Transport(hangs(2, ok), caller.TransportConfig{}).RoundTrip(request(t, t.Context(), http.MethodPost))
	var e *caller.Error
	if !errors.Is(err, caller.ErrAttemptTimeout) || !errors.As(err, &e) || e.Attempts != 1 {
		t.Errorf("POST: got %v, want ErrAttemptTimeout after 1 attempt", err)
	}
	// The options' timeout replaces the configuration's.
	ctx := caller.WithOptions(t.Context(), caller.Options{AttemptTimeout: time.Hour})
	attempts := 0
	_, err = caller.Do(ctx, c, nil, func(ctx context.Context, _ *caller.Grant) (int, error) {
		attempts++
		if at, ok := ctx.Deadline(); !ok || time.Until(at) < time.Minute {
			t.Errorf("got the deadline %v, %v, want about an hour", at, ok)
		}
		return 0, nil
	})
	if err != nil || attempts != 1 {
		t.Errorf("got %v after %d attempts, want success at the first", err, attempts)
	}
	_, err = caller.Do(t.Context(), c, nil, func(ctx context.Context, _ *caller.Grant) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	})
	if !errors.Is(err, caller.ErrAttemptTimeout) || !errors.As(err, &e) || e.Attempts != 3 {
		t.Errorf("Do: got %v, want ErrAttemptTimeout after 3 attempts", err)
	}
	if n := c.Stats().CallsInFlight; n != 0 {
		t.Errorf("got %d calls in flight, want 0", n)
	}
}

// AttemptTimeout bounds the time until the headers. The body may take longer.
func TestAttemptTimeout_EndsWithTheHeaders(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 400} {
		var during context.Context
		_, rdb := redistest.Mini(t)
		c := join(t, rdb, quick, func(cfg *caller.Config) { cfg.AttemptTimeout = 30 * time.Second })
		res, err := c.Transport(hangs(0, func(r *http.Request) *http.Response {
			during = r.Context()
			res := ok(r)
			res.StatusCode = status
			return res
		}), caller.TransportConfig{}).RoundTrip(request(t, t.Context(), http.MethodGet))
		if err != nil {
			t.Fatal(err)
		}
		if during.Err() != nil {
			t.Errorf("%d: got the context's end %v before the body was read, want it to go on", status, context.Cause(during))
		}
		if body, err := io.ReadAll(res.Body); string(body) != "ok" || err != nil {
			t.Errorf("%d: got the body %q, %v, want ok", status, body, err)
		}
		res.Body.Close()
		if during.Err() == nil {
			t.Errorf("%d: got the attempt's context after its response was closed, want it to end", status)
		}
	}
}

// Timeout bounds attempts and waits together. A call whose send time would come later is refused at once.
func TestTimeout_BoundsTheCall(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, quick, func(cfg *caller.Config) { cfg.Timeout = 50 * time.Millisecond })
	_, err := c.Transport(hangs(9, ok), caller.TransportConfig{}).RoundTrip(request(t, t.Context(), http.MethodGet))
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, caller.ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout and context.DeadlineExceeded", err)
	}
	late := join(t, rdb, quick, limits(caller.Limit{Metric: caller.Requests, Rate: 1, Period: time.Hour}), func(cfg *caller.Config) {
		cfg.Name, cfg.Timeout = "late", 10*time.Minute
	})
	for i, want := range []error{nil, caller.ErrDeadline} {
		if _, err := caller.Do(t.Context(), late, nil, nop); !errors.Is(err, want) {
			t.Errorf("call %d: got %v, want %v", i, err, want)
		}
	}
}

// Each call that isn't idempotent has a key of its own for all attempts. The options' and the request's keys come
// first.
func TestIdempotencyKeys_AreTheSameForAllAttempts(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, quick, func(cfg *caller.Config) { cfg.IdempotencyKeys = true })
	mine := caller.WithOptions(t.Context(), caller.Options{IdempotencyKey: "mine"})
	send := func(ctx context.Context, method, header string) []string {
		var seen []string
		req := request(t, ctx, method)
		if header != "" {
			req.Header.Set("Idempotency-Key", header)
		}
		res, err := c.Transport(tripper(func(r *http.Request) (*http.Response, error) {
			seen = append(seen, r.Header.Get("Idempotency-Key"))
			res := ok(r)
			if len(seen) < 3 {
				res.StatusCode = http.StatusInternalServerError
			}
			return res, nil
		}), caller.TransportConfig{}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return seen
	}
	first, second := send(t.Context(), http.MethodPost, ""), send(t.Context(), http.MethodPost, "")
	for _, keys := range [][]string{first, second} {
		if len(keys) != 3 || keys[0] == "" || keys[1] != keys[0] || keys[2] != keys[0] {
			t.Errorf("got the keys %q of a call's attempts, want three times the same", keys)
		}
	}
	if first[0] == second[0] {
		t.Errorf("got the key %q for two calls, want two keys", first[0])
	}
	for want, got := range map[string][]string{
		"":     send(t.Context(), http.MethodGet, ""),
		"mine": send(mine, http.MethodPost, ""),
		"its":  send(mine, http.MethodPost, "its"),
	} {
		if !slices.Equal(got, []string{want, want, want}) {
			t.Errorf("got the keys %q, want %q three times", got, want)
		}
	}
	_, err := caller.Do(mine, c, nil, func(_ context.Context, g *caller.Grant) (int, error) {
		if g.IdempotencyKey != "mine" {
			t.Errorf("Do: got the key %q, want mine", g.IdempotencyKey)
		}
		return 0, nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Options.Idempotency overrides the profile. After a refusal by the provider any call is sent again.
func TestIdempotency_DecidesWhatIsRetried(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, quick)
	for _, test := range []struct {
		option       caller.Idempotency
		method       string
		status, want int
	}{
		{caller.IdempotencyFromProfile, http.MethodGet, 500, 3},
		{caller.IdempotencyFromProfile, http.MethodPost, 500, 1},
		{caller.IdempotencyYes, http.MethodPost, 500, 3},
		{caller.IdempotencyNo, http.MethodGet, 500, 1},
		{caller.IdempotencyNo, http.MethodPost, 429, 9}, // leaving a throttled key is no attempt
	} {
		ctx := caller.WithOptions(t.Context(), caller.Options{Idempotency: test.option})
		sent := 0
		res, err := c.Transport(tripper(func(r *http.Request) (*http.Response, error) {
			sent++
			res := ok(r)
			if sent < 9 {
				res.StatusCode = test.status
			}
			res.Header.Set("Retry-After-Ms", "1")
			return res, nil
		}), caller.TransportConfig{}).RoundTrip(request(t, ctx, test.method))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if sent != test.want {
			t.Errorf("%+v: got %d requests, want %d", test, sent, test.want)
		}
	}
	sent := 0
	_, err := caller.Do(caller.WithOptions(t.Context(), caller.Options{Idempotency: caller.IdempotencyNo}), c, nil,
		func(context.Context, *caller.Grant) (int, error) {
			sent++
			return 0, io.ErrUnexpectedEOF
		})
	if sent != 1 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Do: got %v after %d attempts, want the failure after 1", err, sent)
	}
}

// Pools with one retry budget share its tokens.
func TestRetryBudget_IsSharedByPools(t *testing.T) {
	t.Parallel()
	budget, err := retry.NewBudget(0, 0.1) // one retry in ten seconds
	if err != nil {
		t.Fatal(err)
	}
	_, rdb := redistest.Mini(t)
	sent := 0
	for _, pool := range []string{"a", "b", "c"} {
		c := join(t, rdb, quick, func(cfg *caller.Config) { cfg.Name, cfg.Retry.Budget = pool, budget })
		_, err = caller.Do(t.Context(), c, nil, func(context.Context, *caller.Grant) (int, error) {
			sent++
			return 0, io.ErrUnexpectedEOF
		})
	}
	if e, ok := errors.AsType[*retry.Error](err); !ok || e.Reason != retry.BudgetSpent || sent != 4 {
		t.Errorf("got %v after %d attempts, want BudgetSpent after 4", err, sent)
	}
}

// Negative timeouts are refused, and the error names the fields.
func TestNew_RefusesNegativeTimeouts(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	_, err := caller.New(rdb, caller.Config{Name: "p", Keys: []caller.Key{key("k")}, Timeout: -1, AttemptTimeout: -1})
	if err == nil || !strings.Contains(err.Error(), "Timeout is -1ns") || !strings.Contains(err.Error(), "AttemptTimeout is -1ns") {
		t.Errorf("got %v, want errors that name Timeout and AttemptTimeout", err)
	}
}

// If a call fails and is then refused by admission, its error shows both, and counts the requests that were sent.
func TestError_ShowsTheRefusalAndTheFailure(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, quick, limits(caller.Limit{Metric: caller.Requests, Rate: 1, Period: time.Hour}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := caller.Do(ctx, c, nil, func(context.Context, *caller.Grant) (int, error) { return 0, io.ErrUnexpectedEOF })
	if !errors.Is(err, caller.ErrDeadline) || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	text := err.Error()
	if !strings.Contains(text, "attempts 1: "+caller.ErrDeadline.Error()+"; the last attempt failed: unexpected EOF") {
		t.Errorf("got the text %s, want the refusal and the last failure", text)
	}
}
