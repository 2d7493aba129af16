package caller

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
	"github.com/penstock/penstock/caller/internal/breaker"
	"github.com/penstock/penstock/caller/internal/hedge"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/retry"
)

// Parts of a path that look like IDs are the same endpoint, other parts are not.
func TestEndpoint_LeavesOutIDs(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/v1/chat/completions":        "h/v1/chat/completions",
		"/v1beta/models/gemini-2.5:x": "h/v1beta/models/*",
		"/v1/batches/batch_abc123":    "h/v1/batches/*",
		"/repos/o/r/issues/42":        "h/repos/o/r/issues/*",
		"":                            "h",
	} {
		if got := endpoint(&http.Request{URL: &url.URL{Host: "h", Path: path}}); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// Values of Hedge outside of their ranges are refused.
func TestHedge_ChecksItsValues(t *testing.T) {
	t.Parallel()
	for h, wrong := range map[Hedge]bool{
		{}: false, {After: 1}: false, {After: 1, Percentile: 0.95}: false, {After: 1, Percentile: 0.5}: false,
		{After: -1}: true, {Percentile: 0.95}: true, {After: 1, Percentile: 1}: true, {After: 1, Percentile: 0.4}: true,
		{After: 1, Percentile: -0.95}: true, {After: 1, Percentile: math.NaN()}: true, {After: 1, Percentile: 95}: true,
	} {
		if err := h.check(); (err != nil) != wrong {
			t.Errorf("%+v: got the error %v, want one: %v", h, err, wrong)
		}
	}
}

// fakeAttempts makes attempts without a pool: it grants the keys in order, and leaves out accounts that a request
// excludes. Each account has the keys that its name begins.
type fakeAttempts struct {
	keys   []string // the first that isn't excluded and accepted by onGrant is used; the account is its first letter
	result func(ctx context.Context, key string) (Outcome, error)

	mu    sync.Mutex
	made  []string            // keys of the attempts that sent something
	asked []admission.Request // of all attempts
	next  int                 // index of the key that is granted next
}

func (f *fakeAttempts) attempt(ctx context.Context, spec attemptSpec) (r attemptResult[string]) {
	g := f.grant(spec.request)
	if g == nil {
		r.err = retry.Permanent(&Error{Err: errNoOther})
		return r
	}
	if spec.onGrant != nil && !spec.onGrant(g) {
		r.err = errDeclined
		return r
	}
	f.mu.Lock()
	f.made = append(f.made, g.Key)
	f.mu.Unlock()
	o, err := f.result(ctx, g.Key)
	r.value, r.err = g.Key, err
	r.attempt = Attempt{Key: g.Key, Account: g.Account, Number: spec.number, Verdict: Verdict{Outcome: o}, Err: err}
	if errors.Is(context.Cause(ctx), hedge.ErrLost) {
		r.attempt.Verdict.Reason = hedgeLost
	}
	return r
}

// grant returns a grant of the next key whose account isn't excluded, or nil.
func (f *fakeAttempts) grant(r admission.Request) *Grant {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r)
	for range f.keys {
		key := f.keys[f.next%len(f.keys)]
		f.next++
		if account := key[:1]; !slices.Contains(r.Exclude, account) {
			return &Grant{Key: key, Account: account}
		}
	}
	return nil
}

// breakerFor returns a circuit breaker over the accounts of keys, which opens at the first failure.
func breakerFor(keys []string, opened func(context.Context, Circuit)) *circuits {
	var accounts []admission.Account
	for _, key := range keys {
		id := key[:1]
		i := slices.IndexFunc(accounts, func(a admission.Account) bool { return a.ID == id })
		if i < 0 {
			i = len(accounts)
			accounts = append(accounts, admission.Account{ID: id})
		}
		accounts[i].Keys = append(accounts[i].Keys, admission.Key{ID: key})
	}
	return &circuits{
		pool: "p", breaker: breaker.New(breaker.Config{FailureThreshold: 1, OpenFor: time.Minute}), opened: opened,
		accounts: func() []admission.Account { return accounts },
	}
}

// A key that fails is not used again: another key of its account is, then another account, then no key. Then the error
// says when an endpoint is tried again, and another endpoint is not concerned.
func TestWithBreaker_LeavesOutFailedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := []string{"a1", "a2", "b1"}
		var opened []string
		b := breakerFor(keys, func(_ context.Context, c Circuit) { opened = append(opened, c.Key+" "+c.Endpoint) })
		f := &fakeAttempts{keys: keys, result: func(context.Context, string) (Outcome, error) { return Transient, io.ErrUnexpectedEOF }}
		next := withBreaker(b, f.attempt)
		for i, want := range keys {
			f.next = 0
			r := next(t.Context(), attemptSpec{number: 1, endpoint: "e"})
			if r.attempt.Key != want || r.err != io.ErrUnexpectedEOF {
				t.Errorf("attempt %d: got the key %q and %v, want %q and the attempt's error", i, r.attempt.Key, r.err, want)
			}
			time.Sleep(time.Second)
		}
		if want := []string{"a1 e", "a2 e", "b1 e"}; !slices.Equal(opened, want) || !slices.Equal(f.made, keys) {
			t.Errorf("got attempts with %q and circuits opened for %q, want %q and %q", f.made, opened, keys, want)
		}
		// a1; a1 declined and a2; b1.
		for i, want := range []admission.Request{{}, {}, {Retry: true}, {Exclude: []string{"a"}}} {
			if got := f.asked[i]; got.Retry != want.Retry || !slices.Equal(got.Exclude, want.Exclude) {
				t.Errorf("request %d: got %+v, want %+v", i, got, want)
			}
		}
		r := next(t.Context(), attemptSpec{number: 1, endpoint: "e"})
		e, ok := errors.AsType[*Error](r.err)
		if !ok || e.Err != ErrCircuitOpen || e.RetryAfter != 57*time.Second || r.attempt.Number != 0 {
			t.Errorf("got %v, want ErrCircuitOpen with RetryAfter 57 s and no attempt", r.err)
		}
		if r := next(t.Context(), attemptSpec{number: 1, endpoint: "other"}); r.attempt.Number == 0 {
			t.Errorf("another endpoint: got %v, want an attempt", r.err)
		}
	})
}

// After OpenFor one attempt is the trial of a circuit. Its success closes the circuit; a lost lease says nothing, and the
// next attempt is the trial.
func TestWithBreaker_TriesOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := []string{"a1"}
		b := breakerFor(keys, nil)
		results := []error{io.ErrUnexpectedEOF, ErrLeaseLost, nil, nil}
		f := &fakeAttempts{keys: keys}
		var next attemptFunc[string]
		f.result = func(ctx context.Context, _ string) (Outcome, error) {
			err := results[0]
			results = results[1:]
			if len(results) == 1 { // during the trial
				if r := next(ctx, attemptSpec{number: 1}); !errors.Is(r.err, ErrCircuitOpen) {
					t.Errorf("during the trial: got %v, want ErrCircuitOpen", r.err)
				}
			}
			if err == nil {
				return Success, nil
			}
			return Transient, err
		}
		next = withBreaker(b, f.attempt)
		next(t.Context(), attemptSpec{number: 1})
		time.Sleep(time.Minute)
		for i := range 3 {
			want := results[0]
			if r := next(t.Context(), attemptSpec{number: 1}); r.err != want {
				t.Errorf("attempt %d after OpenFor: got %v, want %v", i, r.err, want)
			}
		}
		if !b.breaker.Quiet() {
			t.Error("got an open circuit after a successful trial, want it closed")
		}
	})
}

// If the request excludes the account whose circuit is closed, the circuits of the others are why the call fails.
func TestWithBreaker_KeepsTheRequestsExclusions(t *testing.T) {
	t.Parallel()
	keys := []string{"a1", "b1"}
	b := breakerFor(keys, nil)
	f := &fakeAttempts{keys: keys, result: func(context.Context, string) (Outcome, error) { return Transient, io.ErrUnexpectedEOF }}
	next := withBreaker(b, f.attempt)
	spec := attemptSpec{number: 1, request: admission.Request{Exclude: []string{"b"}}}
	next(t.Context(), spec)
	if r := next(t.Context(), spec); !errors.Is(r.err, ErrCircuitOpen) || len(f.made) != 1 {
		t.Errorf("got %v after attempts with %q, want ErrCircuitOpen after one with a1", r.err, f.made)
	}
	if want := []string{"b"}; !slices.Equal(spec.request.Exclude, want) {
		t.Errorf("got the request's exclusions changed to %q, want %q", spec.request.Exclude, want)
	}
}

// A slow request is followed by one with another account. The slower one is cancelled, and its result discarded.
func TestWithHedge_UsesAnotherAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var discarded []attemptResult[string]
		f := &fakeAttempts{keys: []string{"a1", "a2", "b1"}, result: func(ctx context.Context, key string) (Outcome, error) {
			if key == "a1" {
				<-ctx.Done()
				return Canceled, context.Cause(ctx)
			}
			return Success, nil
		}}
		next := withHedge(hedge.New(hedge.Config{After: time.Second}), f.attempt, func(r attemptResult[string]) { discarded = append(discarded, r) })
		begun := time.Now()
		r := next(t.Context(), attemptSpec{number: 3, bounded: t.Context()})
		synctest.Wait()
		if want := []string{"a1", "b1"}; !slices.Equal(f.made, want) || r.value != "b1" || r.attempt.Number != 3 || time.Since(begun) != time.Second {
			t.Errorf("got %+v after requests with %q and %v, want the second of %q after 1 s", r, f.made, time.Since(begun), want)
		}
		if len(discarded) != 1 || discarded[0].value != "a1" || !errors.Is(discarded[0].err, hedge.ErrLost) {
			t.Errorf("got %+v discarded, want the first request's result", discarded)
		}
	})
}

// The wait for admission of a request that lost ends, and so does each request's when the call's time is up.
func TestWithHedge_EndsTheWaitForAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var causes []error
		next := withHedge(hedge.New(hedge.Config{After: time.Second}), func(_ context.Context, spec attemptSpec) (r attemptResult[string]) {
			if len(spec.request.Exclude) == 0 {
				spec.onGrant(&Grant{Key: "a1", Account: "a"})
				time.Sleep(5 * time.Second)
				r.attempt.Number = 1
				return r
			}
			<-spec.bounded.Done()
			causes = append(causes, context.Cause(spec.bounded))
			r.err = retry.Permanent(context.Cause(spec.bounded))
			return r
		}, func(attemptResult[string]) {})
		for _, d := range []time.Duration{time.Minute, 2 * time.Second} {
			bounded, cancel := context.WithTimeoutCause(t.Context(), d, ErrTimeout)
			if r := next(t.Context(), attemptSpec{number: 1, bounded: bounded}); r.err != nil {
				t.Errorf("got %v, want the first request's success", r.err)
			}
			synctest.Wait()
			cancel()
		}
		if want := []error{hedge.ErrLost, ErrTimeout}; !slices.Equal(causes, want) {
			t.Errorf("got the ends %v of the second requests' waits, want %v", causes, want)
		}
	})
}

// If the second request gets no grant, the first request's failure is the attempt's result.
func TestWithHedge_PrefersTheFailureOfARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := withHedge(hedge.New(hedge.Config{After: time.Second}), func(_ context.Context, spec attemptSpec) (r attemptResult[string]) {
			if len(spec.request.Exclude) > 0 {
				time.Sleep(time.Second)
				r.err = retry.Permanent(ErrNoKeys)
				return r
			}
			spec.onGrant(&Grant{Key: "a1", Account: "a"})
			time.Sleep(1500 * time.Millisecond)
			r.attempt.Number, r.err = 1, io.ErrUnexpectedEOF
			return r
		}, func(attemptResult[string]) {})
		if r := next(t.Context(), attemptSpec{number: 1, bounded: t.Context()}); r.err != io.ErrUnexpectedEOF {
			t.Errorf("got %v, want the first request's failure", r.err)
		}
	})
}

// Hedge( Breaker( attempt )) is built with the configured wrappers only, and in this order: the second request of a hedge
// takes part in the circuits.
func TestCall_ComposesItsWrappers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		breaker, hedge bool
	}{"none": {}, "breaker": {breaker: true}, "hedge": {hedge: true}, "both": {true, true}} {
		_, rdb := redistest.Mini(t)
		cfg := Config{Name: "p", Keys: []Key{{ID: "a", Secret: NewSecret("secret-1")}, {ID: "b", Secret: NewSecret("secret-2")}}}
		var opened atomic.Int64
		cfg.Hooks.CircuitOpened = func(context.Context, Circuit) { opened.Add(1) }
		if test.breaker {
			cfg.Breaker.FailureThreshold = 1
		}
		if test.hedge {
			cfg.Hedge.After = time.Millisecond
		}
		c, err := New(rdb, cfg)
		if err != nil {
			t.Fatal(err)
		}
		first := make(chan struct{})
		var sent atomic.Int64
		k := &call[string]{pool: c, ctx: t.Context(), hedged: test.hedge}
		k.send = func(ctx context.Context, g *Grant) (string, Verdict, error) {
			defer g.finishAttempt()
			if sent.Add(1) == 1 && test.hedge {
				<-first // the second request has failed
			} else if test.hedge {
				defer close(first)
			}
			return g.Key, Verdict{Outcome: Transient}, io.ErrUnexpectedEOF
		}
		r := k.attempts()(t.Context(), attemptSpec{number: 1, bounded: t.Context(), request: admission.Request{Units: []int64{}}})
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		want := int64(1)
		if test.hedge {
			want = 2
		}
		if sent.Load() != want || !errors.Is(r.err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %d requests, %v, want %d and the failure", name, sent.Load(), r.err, want)
		}
		if got := opened.Load(); test.breaker && got != want || !test.breaker && got != 0 {
			t.Errorf("%s: got %d circuits opened, want one for each request if there is a breaker", name, got)
		}
	}
}
