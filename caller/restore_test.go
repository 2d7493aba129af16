package caller_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	profiles "github.com/penstock/penstock/caller/provider"
	permits "github.com/penstock/penstock/concurrency"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// What a process knows of limits, it puts back where Redis has lost it, before it is admitted anything.
func TestRestore_Limits(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]caller.Limit{
		"window": {Metric: caller.Requests, Rate: 1, Period: time.Hour},
		"bucket": {Metric: caller.Requests, Rate: 2, Period: 2 * time.Hour, Algorithm: caller.Bucket, Burst: 1},
		"daily":  {Metric: caller.Requests, Rate: 1, Algorithm: caller.Daily},
		"pool's": {Metric: caller.Requests, Rate: 1, Period: time.Hour, Scope: caller.PerPool},
		"key's":  {Metric: caller.Requests, Rate: 1, Period: time.Hour, Scope: caller.PerKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Client(t)
			c := join(t, redistest.Another(t, rdb), limits(limit))
			if _, err := caller.Do(testkit.Context(t), c, nil, nop); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time what was put back is lost
				if err := rdb.FlushDB(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
				if _, err := caller.Do(testkit.Context(t), c, nil, nop); !errors.Is(err, caller.ErrDeadline) {
					t.Errorf("a call after the flush: %v, want ErrDeadline", err)
				}
			}
		})
	}
}

// A key that this process found revoked isn't tried again because Redis has lost the block.
func TestRestore_Blocks(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	c := join(t, redistest.Another(t, rdb), func(cfg *caller.Config) { cfg.Retry.Attempts = 1 })
	sent := 0
	revoked := func(context.Context, *caller.Grant) (int, error) {
		sent++
		return 0, &caller.StatusError{StatusCode: http.StatusUnauthorized}
	}
	for range 2 { // one rejection alone may be the call's fault
		if _, err := caller.Do(testkit.Context(t), c, nil, revoked); err == nil {
			t.Fatal("got success with a rejected key, want an error")
		}
	}
	testkit.Eventually(t, "the key is disabled", func() bool {
		s, err := c.Inspect(t.Context())
		return err == nil && s.Keys[0].Disabled > 0
	})
	if err := rdb.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := caller.Do(testkit.Context(t), c, nil, revoked); !errors.Is(err, caller.ErrNoKeys) || sent != 2 {
		t.Errorf("got %v after the flush, and %d requests with the rejected key, want none", err, sent)
	}
	// And one that was enabled again stays so.
	if err := c.Enable(testkit.Context(t), "k"); err != nil {
		t.Fatal(err)
	}
	if err := rdb.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := caller.Do(testkit.Context(t), c, nil, nop); err != nil {
		t.Errorf("got %v after Enable and another flush, want success", err)
	}
}

// The calls in flight fall on overload and rise while they are used, the same for all processes, between the bounds.
func TestAdaptive_FollowsTheResults(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	adaptive := func(cfg *caller.Config) {
		cfg.Concurrency = 100
		cfg.Adaptive = &permits.Adaptive{Min: 2, Initial: 8, Backoff: 0.5, Window: 10 * time.Millisecond}
		cfg.Retry.Attempts = 1
	}
	a, b := join(t, redistest.Another(t, rdb), adaptive), join(t, redistest.Another(t, rdb), adaptive)
	now := func() float64 {
		t.Helper()
		s, err := b.Inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Permits["k"]
	}
	overloaded := func(context.Context, *caller.Grant) (int, error) {
		return 0, &caller.StatusError{StatusCode: http.StatusServiceUnavailable}
	}
	_, _ = caller.Do(testkit.Context(t), a, nil, overloaded)
	testkit.Eventually(t, "an overload halves it", func() bool { return now() == 4 })
	testkit.Eventually(t, "it falls to its least", func() bool {
		_, _ = caller.Do(testkit.Context(t), a, nil, overloaded)
		return now() == 2
	})
	// It rises only while at least half of it is used.
	end := hold(t, b)
	testkit.Eventually(t, "it rises while it is used", func() bool {
		_, err := caller.Do(testkit.Context(t), a, nil, nop)
		return err == nil && now() > 3
	})
	end()
	load := newLoad(100)
	if _, err := caller.Do(testkit.Context(t), b, nil, load.call); err != nil {
		t.Error(err)
	}
}

// What the provider would take at the moment is where it begins.
func TestAdaptive_BeginsAtTheQuotaLeft(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	c := join(t, rdb, func(cfg *caller.Config) {
		cfg.Concurrency, cfg.Profile = 100, profiles.OpenAI()
		cfg.Adaptive = &permits.Adaptive{Initial: 5, Window: 10 * time.Millisecond}
	})
	remaining := 60
	res, err := c.Transport(tripper(func(r *http.Request) (*http.Response, error) {
		res := ok(r)
		res.Header = http.Header{"X-Ratelimit-Remaining-Requests": {strconv.Itoa(remaining)}}
		return res, nil
	}), caller.TransportConfig{}).RoundTrip(request(t, t.Context(), http.MethodGet))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	testkit.Eventually(t, "it begins at what is left", func() bool {
		s, err := c.Inspect(t.Context())
		return err == nil && s.Permits["k"] >= 60
	})
}
