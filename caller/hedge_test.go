package caller_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/retry"
)

// racing is a transport whose first n requests hang until they are cancelled. The others get a response.
type racing struct {
	mu   sync.Mutex
	n    int
	keys []string
	ctxs []context.Context
}

func (s *racing) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.keys = append(s.keys, r.Header.Get("Authorization"))
	s.ctxs = append(s.ctxs, r.Context())
	hang := len(s.keys) <= s.n
	s.mu.Unlock()
	if hang {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	return ok(r), nil
}

func hedging(after time.Duration) func(*caller.Config) {
	return func(cfg *caller.Config) { cfg.Hedge.After = after }
}

func idle(t *testing.T, c *caller.Pool) {
	t.Helper()
	testkit.Eventually(t, "no call is in flight", func() bool { return c.Stats().CallsInFlight == 0 })
}

// The second request uses the other account. The slower one is cancelled, and the response can be read whole.
func TestHedge_TakesTheFasterRequest(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	attempts := make(chan caller.Attempt, 4)
	c := join(t, rdb, quick, keys(key("a"), key("b")), hedging(10*time.Millisecond), func(cfg *caller.Config) {
		cfg.Hooks.Attempted = func(_ context.Context, a caller.Attempt) { attempts <- a }
	})
	base := &racing{n: 1}
	res, err := c.Transport(base, caller.TransportConfig{}).RoundTrip(request(t, t.Context(), http.MethodGet))
	if err != nil {
		t.Fatal(err)
	}
	<-base.ctxs[0].Done()
	if base.ctxs[1].Err() != nil {
		t.Error("got the end of the faster request's context, want it to go on")
	}
	if body, err := io.ReadAll(res.Body); string(body) != "ok" || err != nil {
		t.Errorf("got the body %q, %v, want ok", body, err)
	}
	res.Body.Close()
	<-base.ctxs[1].Done()
	if len(base.keys) != 2 || base.keys[0] == base.keys[1] {
		t.Errorf("got requests with the keys %q, want two different ones", base.keys)
	}
	outcomes := map[caller.Outcome]int{}
	for range 2 {
		outcomes[(<-attempts).Verdict.Outcome]++
	}
	if outcomes[caller.Success] != 1 || outcomes[caller.Canceled] != 1 {
		t.Errorf("got the outcomes %v, want one Success and one Canceled", outcomes)
	}
	idle(t, c)
}

// There is one request without another account or retry budget, for calls that aren't idempotent, and if the first is
// fast.
func TestHedge_SendsOneRequestWhereItMust(t *testing.T) {
	t.Parallel()
	two := keys(key("a"), key("b"))
	once := caller.Options{Idempotency: caller.IdempotencyNo}
	broke, err := retry.NewBudget(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		keys   func(*caller.Config)
		after  time.Duration
		opts   caller.Options
		method string
		budget *retry.Budget
	}{
		"one account": {keys(key("a")), time.Millisecond, caller.Options{}, http.MethodGet, nil},
		"once":        {two, time.Millisecond, once, http.MethodGet, nil},
		"POST":        {two, time.Millisecond, caller.Options{}, http.MethodPost, nil},
		"quick":       {two, time.Hour, caller.Options{}, http.MethodGet, nil},
		"no budget":   {two, time.Millisecond, caller.Options{}, http.MethodGet, broke},
	} {
		_, rdb := redistest.Mini(t)
		c := join(t, rdb, quick, test.keys, hedging(test.after), func(cfg *caller.Config) { cfg.Retry.Budget = test.budget })
		sent := 0
		res, err := c.Transport(tripper(func(r *http.Request) (*http.Response, error) {
			sent++
			if test.after < time.Hour {
				time.Sleep(50 * time.Millisecond) // longer than the hedge waits
			}
			return ok(r), nil
		}), caller.TransportConfig{}).RoundTrip(request(t, caller.WithOptions(t.Context(), test.opts), test.method))
		if err != nil {
			t.Fatalf("%s: got %v, want a response", name, err)
		}
		res.Body.Close()
		if sent != 1 {
			t.Errorf("%s: got %d requests, want 1", name, sent)
		}
		idle(t, c)
	}
}

// One failed request leaves the race open. If both fail, the attempt failed, and the next attempt follows.
func TestHedge_FailsIfBothRequestsFail(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, quick, keys(key("a"), key("b")), hedging(time.Millisecond))
	var mu sync.Mutex
	calls := map[int]int{}
	both := make(chan struct{})
	v, err := caller.Do(t.Context(), c, nil, func(ctx context.Context, g *caller.Grant) (int, error) {
		mu.Lock()
		calls[g.Attempt]++
		n := calls[g.Attempt]
		mu.Unlock()
		switch {
		case g.Attempt == 2:
			return 2, nil
		case n == 2:
			close(both)
		default:
			<-both
		}
		return 0, io.ErrUnexpectedEOF
	})
	if v != 2 || err != nil || calls[1] != 2 {
		t.Errorf("got %d, %v after requests by attempt %v, want 2 at the second attempt, after two requests", v, err, calls)
	}
	idle(t, c)
}

// Both requests end with the call's context.
func TestHedge_EndsWithItsCall(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, quick, keys(key("a"), key("b")), hedging(time.Millisecond))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := make(chan int, 2)
	_, err := caller.Do(ctx, c, nil, func(ctx context.Context, g *caller.Grant) (int, error) {
		n <- 1
		if len(n) == 2 {
			cancel()
		}
		<-ctx.Done()
		return 0, ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	idle(t, c)
}

// A panic of the function is raised in the goroutine that called Do, and the permit is released.
func TestHedge_RaisesAPanicInTheCaller(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, quick, hedging(time.Hour))
	defer func() {
		if got := recover(); got != "mine" {
			t.Errorf("got the panic %v, want mine", got)
		}
		idle(t, c)
	}()
	_, _ = caller.Do(t.Context(), c, nil, func(context.Context, *caller.Grant) (int, error) { panic("mine") })
}

// With a percentile, calls of equal length are hedged until there are enough latencies, and rarely after that.
func TestHedge_FollowsThePercentile(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, quick, keys(key("a"), key("b")), hedging(time.Millisecond), func(cfg *caller.Config) {
		cfg.Hedge.Percentile = 0.99
	})
	ask := func(n int) (sent int64) {
		var requests atomic.Int64
		client := c.Transport(tripper(func(r *http.Request) (*http.Response, error) {
			requests.Add(1)
			select {
			case <-time.After(20 * time.Millisecond): // the work
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
			return ok(r), nil
		}), caller.TransportConfig{})
		for range n {
			res, err := client.RoundTrip(request(t, t.Context(), http.MethodGet))
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
		}
		idle(t, c)
		return requests.Load()
	}
	if n := ask(80); n < 100 {
		t.Errorf("got %d requests for 80 calls that are slower than After, want at least 100", n)
	}
	if n := ask(80); n > 120 {
		t.Errorf("got %d requests for 80 calls of the usual latency, want at most 120", n)
	}
}
