package caller_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/retry"
)

// would is what a shadow's hooks report.
type would struct {
	admitted chan caller.Admission
	refused  chan caller.Refusal
}

// shadow makes a pool a shadow whose hooks report to w.
func shadow(w *would) func(*caller.Config) {
	w.admitted, w.refused = make(chan caller.Admission, 1000), make(chan caller.Refusal, 1000)
	return func(c *caller.Config) {
		c.Shadow = true
		c.Hooks.Admitted = func(_ context.Context, a caller.Admission) { w.admitted <- a }
		c.Hooks.Refused = func(_ context.Context, r caller.Refusal) { w.refused <- r }
	}
}

func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// A shadow sends every call at once, and reports which would have been admitted and which refused.
func TestShadow_SendsEverythingAndReports(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	var w would
	c := join(t, rdb, shadow(&w), limits(caller.Limit{Metric: caller.Requests, Rate: 2, Period: time.Minute, Burst: 2}))
	const calls = 10
	for range calls {
		ctx, cancel := within(testkit.Patience / 2)
		if got, err := caller.Do(ctx, c, nil, func(context.Context, *caller.Grant) (int, error) { return 7, nil }); err != nil || got != 7 {
			t.Fatalf("got %d and error %v, want the function's 7", got, err)
		}
		cancel()
	}
	for range 2 {
		if a := testkit.Receive(t, "an admission", w.admitted); !a.Shadow || a.Key != "k" || a.Attempt != 1 {
			t.Errorf("got admission %+v, want one of a shadow with key k", a)
		}
	}
	for range calls - 2 {
		if r := testkit.Receive(t, "a refusal", w.refused); !r.Shadow || r.Reason != caller.RefusedDeadline || r.Metric != caller.Requests {
			t.Errorf("got refusal %+v, want one of a shadow by its deadline and the limit of requests", r)
		}
	}
	s := c.Stats()
	if s.CallsSucceeded != calls || s.CallsFailed != 0 || s.CallsRefused[caller.RefusedDeadline] != calls-2 || s.Charged[caller.Requests] != 2 {
		t.Errorf("got %+v, want %d calls that succeeded and none that failed; %d would have been refused", s, calls, calls-2)
	}
}

// A shadow takes nothing of the quota of the pool that has its name.
func TestShadow_LeavesQuotaOfOtherPools(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	var w would
	one := limits(caller.Limit{Metric: caller.Requests, Rate: 1, Period: time.Hour})
	c := join(t, rdb, shadow(&w), one)
	if _, err := caller.Do(t.Context(), c, nil, nop); err != nil {
		t.Fatal(err)
	}
	testkit.Receive(t, "an admission", w.admitted)
	ctx, cancel := within(testkit.Patience / 2)
	defer cancel()
	if _, err := caller.Do(ctx, join(t, rdb, one), nil, nop); err != nil {
		t.Errorf("got error %v of the real pool, want its one call", err)
	}
	if c.Name() != "p.shadow" {
		t.Errorf("got name %q, want p.shadow", c.Name())
	}
}

// While Redis is away, calls of a shadow succeed.
func TestShadow_NeedsNoRedis(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = rdb.Close() })
	var w would
	cfg := caller.Config{Name: "p", Keys: []caller.Key{key("k")}, Concurrency: 1}
	shadow(&w)(&cfg)
	c, err := caller.New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := within(time.Second)
	defer cancel()
	if _, err := caller.Do(ctx, c, nil, nop); err != nil {
		t.Errorf("got error %v, want success", err)
	}
	if r := testkit.Receive(t, "a refusal", w.refused); r.Reason != caller.RefusedRedis {
		t.Errorf("got refusal %+v, want Redis as the reason", r)
	}
	closing, end := within(testkit.Patience)
	defer end()
	if err := c.Close(closing); err != nil {
		t.Errorf("close: %v", err)
	}
}

// A call that never fits is sent, and reported as one that would have been refused. A negative cost is an error.
func TestShadow_SendsCallThatNeverFits(t *testing.T) {
	t.Parallel()
	var w would
	c := join(t, redistest.Client(t), shadow(&w), limits(caller.Limit{Metric: caller.Tokens, Rate: 10, Period: time.Minute}))
	if _, err := caller.Do(t.Context(), c, caller.Cost{caller.Tokens: 11}, nop); err != nil {
		t.Errorf("got error %v, want success", err)
	}
	if r := testkit.Receive(t, "a refusal", w.refused); r.Reason != caller.RefusedNeverFits || r.Limit != 10 || r.Cost != 11 {
		t.Errorf("got refusal %+v, want that the call never fits", r)
	}
	if _, err := caller.Do(t.Context(), c, caller.Cost{caller.Tokens: -1}, nop); err == nil {
		t.Error("got no error for a negative cost")
	}
}

// A call that would have been admitted holds its permit for as long as it took, so the next one would have waited for it.
func TestShadow_HoldsPermits(t *testing.T) {
	t.Parallel()
	var w would
	c := join(t, redistest.Client(t), shadow(&w), concurrency(1))
	const took = 300 * time.Millisecond
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() {
			_, err := caller.Do(t.Context(), c, nil, func(context.Context, *caller.Grant) (int, error) {
				time.Sleep(took) //nolint:forbidigo // what the test measures
				return 0, nil
			})
			if err != nil {
				t.Errorf("got error %v, want success", err)
			}
		})
	}
	calls.Wait()
	first, second := testkit.Receive(t, "an admission", w.admitted), testkit.Receive(t, "an admission", w.admitted)
	if second.WaitedFor.Permit < took/2 || second.Waited <= first.Waited {
		t.Errorf("got waits %+v and %+v, want that the second would have waited for the first's permit", first, second)
	}
}

// A settlement corrects what the call would have been charged.
func TestShadow_Settles(t *testing.T) {
	t.Parallel()
	var w would
	c := join(t, redistest.Client(t), shadow(&w),
		limits(caller.Limit{Metric: caller.Tokens, Rate: 100, Period: time.Minute, Algorithm: caller.Bucket}))
	_, err := caller.Do(t.Context(), c, caller.Cost{caller.Tokens: 10}, func(_ context.Context, g *caller.Grant) (int, error) {
		return 0, g.Settle(caller.Cost{caller.Tokens: 90})
	})
	if err != nil {
		t.Fatal(err)
	}
	testkit.Receive(t, "an admission", w.admitted)
	testkit.Eventually(t, "the settlement is in Redis", func() bool {
		s, err := c.Inspect(t.Context())
		return err == nil && len(s.Limits) == 1 && s.Limits[0].Used > 80
	})
	ctx, cancel := within(testkit.Patience / 2)
	defer cancel()
	if _, err := caller.Do(ctx, c, caller.Cost{caller.Tokens: 50}, nop); err != nil {
		t.Fatal(err)
	}
	if r := testkit.Receive(t, "a refusal", w.refused); r.Metric != caller.Tokens {
		t.Errorf("got refusal %+v, want one by the limit of tokens", r)
	}
}

// Keys take turns by weight, and a call that a key rejects goes on with another one.
func TestShadow_TakesKeysInTurn(t *testing.T) {
	t.Parallel()
	var w would
	heavy := key("a")
	heavy.Weight = 3
	c := join(t, redistest.Client(t), shadow(&w), keys(heavy, key("b")))
	used := map[string]int{}
	for range 40 {
		_, _ = caller.Do(t.Context(), c, nil, func(_ context.Context, g *caller.Grant) (int, error) {
			used[g.Key]++
			return 0, nil
		})
	}
	if used["a"] != 30 || used["b"] != 10 {
		t.Errorf("got %v, want 30 calls with a and 10 with b", used)
	}
	_, err := caller.Do(t.Context(), c, nil, func(_ context.Context, g *caller.Grant) (string, error) {
		if g.Key == "a" {
			return "", statusError(401)
		}
		return g.Key, nil
	})
	if err != nil {
		t.Errorf("got error %v of a call that one key rejects, want success with the other one", err)
	}
}

// An attempt that fails is retried, and each attempt is followed.
func TestShadow_Retries(t *testing.T) {
	t.Parallel()
	var w would
	c := join(t, redistest.Client(t), shadow(&w), concurrency(5), func(c *caller.Config) { c.Retry = retry.Policy{Base: time.Millisecond} })
	sent := 0
	_, err := caller.Do(t.Context(), c, nil, func(context.Context, *caller.Grant) (int, error) {
		if sent++; sent < 3 {
			return 0, retry.After(errors.New("again"), 0)
		}
		return 0, nil
	})
	attempts := map[int]bool{}
	for range 3 {
		attempts[testkit.Receive(t, "an admission", w.admitted).Attempt] = true
	}
	if err != nil || len(attempts) != 3 {
		t.Errorf("got error %v and attempts %v, want success with the third attempt", err, attempts)
	}
}
