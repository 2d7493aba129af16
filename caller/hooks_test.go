package caller_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

type mark struct{}

// events lists the hooks that are called, and fails the test for one whose context isn't the call's.
type events struct {
	mu      sync.Mutex
	list    []string
	refused []caller.Refusal
	ended   []caller.CallEnd
}

func (e *events) add(t *testing.T, ctx context.Context, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, name)
	if ctx.Value(mark{}) != "call" {
		t.Errorf("%s: got a context without the call's values, want the call's context", name)
	}
}

// take returns the list of hooks called so far, and empties it.
func (e *events) take() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer func() { e.list = nil }()
	return strings.Join(e.list, " ")
}

func (e *events) hooks(t *testing.T) caller.Hooks {
	return caller.Hooks{
		CallStarted: func(ctx context.Context, _ caller.CallStart) context.Context {
			e.add(t, ctx, "CallStarted")
			return context.WithValue(ctx, "from", "CallStarted") //nolint:staticcheck // a key of the test's own
		},
		Refused: func(ctx context.Context, r caller.Refusal) {
			e.add(t, ctx, "Refused")
			e.refused = append(e.refused, r)
		},
		CallEnded: func(ctx context.Context, c caller.CallEnd) {
			e.add(t, ctx, "CallEnded")
			e.ended = append(e.ended, c)
		},
		Admitted: func(ctx context.Context, _ caller.Admission) { e.add(t, ctx, "Admitted") },
		AttemptStarted: func(ctx context.Context, _ caller.AttemptStart) context.Context {
			e.add(t, ctx, "AttemptStarted")
			return ctx
		},
		Attempted:  func(ctx context.Context, _ caller.Attempt) { e.add(t, ctx, "Attempted") },
		Released:   func(ctx context.Context, _ caller.Release) { e.add(t, ctx, "Released") },
		CooledDown: func(ctx context.Context, _ caller.Block) { e.add(t, ctx, "CooledDown") },
		Disabled:   func(ctx context.Context, _ caller.Block) { e.add(t, ctx, "Disabled") },
		UsageRead:  func(ctx context.Context, _ caller.Usage) { e.add(t, ctx, "UsageRead") },
		QuotaRead:  func(ctx context.Context, _ caller.QuotaReport) { e.add(t, ctx, "QuotaRead") },
	}
}

// Each hook of a call is called in order, with the call's context, and the function gets what CallStarted returned.
func TestHooks_HaveTheCallsContext(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	var e events
	c := join(t, rdb, keys(key("a"), key("b")), func(cfg *caller.Config) { cfg.Hooks = e.hooks(t) })
	ctx := context.WithValue(t.Context(), mark{}, "call")
	answers := []caller.Outcome{caller.KeyRejected, caller.Success}
	_, err := caller.Do(ctx, c, nil, func(ctx context.Context, g *caller.Grant) (int, error) {
		if ctx.Value("from") != "CallStarted" {
			t.Error("got a context without what CallStarted added, want it in the function's context")
		}
		if o := answers[g.Attempt-1]; o != caller.Success {
			return 0, verdictError{o}
		}
		g.Settle(caller.Cost{caller.Tokens: 5})
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = "CallStarted Admitted AttemptStarted Released Attempted Admitted AttemptStarted UsageRead Released Disabled Attempted CallEnded"
	if got := e.take(); got != want {
		t.Errorf("got the hooks\n%s, want\n%s", got, want)
	}
	if end := e.ended[0]; end.Attempts != 2 || end.Outcome != caller.Success || end.Err != nil || end.Key == "" || end.Refused != caller.NotRefused {
		t.Errorf("got the end %+v, want that of a success after two attempts", end)
	}
	if s := c.Stats(); s.Used[caller.Tokens] != 5 || s.CallLatency.Count != 1 || s.AttemptLatency.Count != 2 || s.AdmissionWait.Count != 2 {
		t.Errorf("got the stats %+v, want the usage, and a duration of each call, attempt and admission", s)
	}
}

// A response of Transport ends its call before its body is read, and releases its permit after.
func TestHooks_OfTransport(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
	defer provider.Close()
	var e events
	c := join(t, rdb, func(cfg *caller.Config) { cfg.Hooks = e.hooks(t) })
	client := &http.Client{Transport: c.Transport(nil, caller.TransportConfig{})}
	defer client.CloseIdleConnections()
	req, _ := http.NewRequestWithContext(context.WithValue(testkit.Context(t), mark{}, "call"), http.MethodGet, provider.URL, http.NoBody)
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := e.take(), "CallStarted Admitted AttemptStarted Attempted CallEnded"; got != want {
		t.Errorf("got the hooks %q before the body was read, want %q", got, want)
	}
	res.Body.Close()
	if got, want := e.take(), "Released"; got != want {
		t.Errorf("got the hooks %q after the body was closed, want %q", got, want)
	}
}

// A refused call has a hook that says why, whatever refused it, and it is counted.
func TestHooks_OfRefusedCalls(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*caller.Config)
		cost   caller.Cost
		opts   caller.Options
		before func(*testing.T, *caller.Pool)
		bound  time.Duration
		reason caller.RefusalReason
		want   error
	}{
		"never fits": {change: limits(perMinute(10)), cost: caller.Cost{caller.Requests: 11}, reason: caller.RefusedNeverFits, want: caller.ErrNeverFits},
		"deadline": {
			change: limits(caller.Limit{Metric: caller.Requests, Rate: 1, Period: time.Hour}),
			before: func(t *testing.T, c *caller.Pool) { call(t, c) }, reason: caller.RefusedDeadline, want: caller.ErrDeadline,
		},
		"no keys": {
			before: func(t *testing.T, c *caller.Pool) {
				if err := c.Disable(t.Context(), "k", "leaked"); err != nil {
					t.Fatal(err)
				}
			},
			reason: caller.RefusedNoKeys, want: caller.ErrNoKeys,
		},
		"queue full": {
			change: func(cfg *caller.Config) { cfg.Concurrency, cfg.Tuning.MaxWaiting = 1, 1 },
			before: func(t *testing.T, c *caller.Pool) {
				hold(t, c)
				ctx, cancel := context.WithCancel(t.Context())
				waited := make(chan struct{})
				go func() { defer close(waited); _, _ = caller.Do(ctx, c, nil, nop) }()
				t.Cleanup(func() { cancel(); <-waited })
				testkit.Eventually(t, "one waits", func() bool { return c.Stats().CallsWaiting == 1 })
			},
			reason: caller.RefusedQueueFull, want: caller.ErrQueueFull,
		},
		"canceled": {
			change: concurrency(1), before: func(t *testing.T, c *caller.Pool) { hold(t, c) },
			bound: 50 * time.Millisecond, reason: caller.RefusedCanceled, want: context.DeadlineExceeded,
		},
		"invalid": {opts: caller.Options{Priority: 7}, reason: caller.RefusedInvalid},
		"closed": {
			before: func(t *testing.T, c *caller.Pool) {
				if err := c.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
			reason: caller.RefusedClosed, want: caller.ErrClosed,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, rdb := redistest.Mini(t)
			var got []caller.Refusal
			c := join(t, rdb, func(cfg *caller.Config) {
				if test.change != nil {
					test.change(cfg)
				}
				cfg.Hooks.Refused = func(_ context.Context, r caller.Refusal) {
					if r.Model == "m" {
						got = append(got, r)
					}
				}
			})
			if test.before != nil {
				test.before(t, c)
			}
			test.opts.Model = "m"
			bound := test.bound
			if bound == 0 {
				bound = testkit.Patience
			}
			_, err := caller.Do(caller.WithOptions(testkit.ContextFor(t, bound), test.opts), c, test.cost, nop)
			if test.want != nil && !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if len(got) != 1 || got[0].Reason != test.reason || got[0].Err != err { //nolint:errorlint // the very value
				t.Fatalf("got the refusals %+v, want one for the reason %q with the call's error %v", got, test.reason, err)
			}
			if test.bound > 0 && (got[0].WaitedFor.Permit < test.bound/2 || got[0].Waited < test.bound) {
				t.Errorf("got the waits %+v of %v, want nearly all of it for a permit", got[0].WaitedFor, got[0].Waited)
			}
			if n := c.Stats().CallsRefused[test.reason]; n != 1 {
				t.Errorf("got %d refused calls in Stats, want 1", n)
			}
		})
	}
}

func call(t *testing.T, c *caller.Pool) {
	t.Helper()
	if _, err := caller.Do(testkit.Context(t), c, nil, nop); err != nil {
		t.Fatal(err)
	}
}

// An admission says how long the call waited for each thing.
func TestHooks_AdmissionNamesTheWaits(t *testing.T) {
	t.Parallel()
	const long = 150 * time.Millisecond
	for name, test := range map[string]struct {
		change func(*caller.Config)
		before func(*testing.T, *caller.Pool)
		of     func(caller.Waits) time.Duration
	}{
		"rate": {
			change: limits(caller.Limit{Metric: caller.Requests, Rate: 1, Period: 2 * long}),
			before: func(t *testing.T, c *caller.Pool) { call(t, c) },
			of:     func(w caller.Waits) time.Duration { return w.Rate },
		},
		"permit": {
			change: concurrency(1),
			before: func(t *testing.T, c *caller.Pool) { time.AfterFunc(2*long, hold(t, c)) },
			of:     func(w caller.Waits) time.Duration { return w.Permit },
		},
		"cooldown": {
			before: func(t *testing.T, c *caller.Pool) {
				_, err := caller.Do(testkit.Context(t), c, nil, func(context.Context, *caller.Grant) (int, error) {
					return 0, throttledError(2 * long)
				})
				if err == nil {
					t.Fatal("got no error, want the throttled call's")
				}
			},
			of: func(w caller.Waits) time.Duration { return w.Cooldown },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Client(t)
			var got []caller.Admission
			c := join(t, rdb, func(cfg *caller.Config) {
				cfg.Retry.Attempts = 1
				if test.change != nil {
					test.change(cfg)
				}
				cfg.Hooks.Admitted = func(_ context.Context, a caller.Admission) { got = append(got, a) }
			})
			test.before(t, c)
			ctx := caller.WithOptions(testkit.Context(t), caller.Options{Model: "m", Priority: caller.PriorityHigh})
			if _, err := caller.Do(ctx, c, nil, nop); err != nil {
				t.Fatal(err)
			}
			a := got[len(got)-1]
			if a.Model != "m" || a.Priority != caller.PriorityHigh || a.Attempt != 1 || a.Key != "k" {
				t.Errorf("got the admission %+v, want the call's model, priority, attempt and key", a)
			}
			w := a.WaitedFor
			if test.of(w) < long || test.of(w) < a.Waited*3/4 || w.Rate+w.Permit+w.Cooldown+w.Redis != a.Waited {
				t.Errorf("got %+v of %v, want most of it for %s, and parts that add up", w, a.Waited, name)
			}
			if name == "rate" && w.Metric != caller.Requests {
				t.Errorf("got the metric %q, want requests", w.Metric)
			}
		})
	}
}

type throttledError time.Duration

func (throttledError) Error() string { return "throttled" }

func (d throttledError) Verdict() caller.Verdict {
	return caller.Verdict{Outcome: caller.Throttled, Scope: caller.ScopeAccount, RetryAfter: time.Duration(d)}
}
