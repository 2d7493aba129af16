package caller

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/scripts"
)

// A 429 that the provider sends slows the account's own limits, and neither the pool's nor other accounts'.
func TestThrottled_SlowsItsAccountAlone(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	own := Limit{Metric: Requests, Rate: 6000, Period: time.Minute}
	shared := Limit{Metric: Requests, Rate: 60000, Period: time.Minute, Scope: PerPool}
	c, err := New(rdb, Config{Name: "p", Keys: accountsNamed("a", "b"), Limits: []Limit{own, shared}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(c) })
	var first atomic.Pointer[string]
	_, err = Do(t.Context(), c, nil, func(_ context.Context, g *Grant) (int, error) {
		if first.CompareAndSwap(nil, &g.Account) {
			return 0, throttled{}
		}
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var slowed []string
	for name, value := range rdb.HGetAll(t.Context(), scripts.PoolKey("p")).Val() {
		f := strings.Fields(value)
		if !strings.HasPrefix(name, "t:") || len(f) != 6 {
			continue
		}
		slowed = append(slowed, name)
		if f[3] != "0.75" || f[5] != "600" {
			t.Errorf("%s is %q, want three quarters, whole again after 600 s", name, value)
		}
	}
	if want := "t:" + *first.Load() + ":"; len(slowed) != 1 || !strings.HasPrefix(slowed[0], want) {
		t.Errorf("slowed %v, want only what begins with %s", slowed, want)
	}
}

type throttled struct{}

func (throttled) Error() string { return "429" }

func (throttled) Verdict() Verdict {
	return Verdict{Outcome: Throttled, Scope: ScopeAccount, RetryAfter: time.Millisecond, Reason: "rate_limit"}
}

// A 429 about calls in flight says nothing about limits per time: they keep their pace.
func TestThrottled_ByConcurrencySlowsNoLimit(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	c, err := New(rdb, Config{Name: "p", Keys: accountsNamed("a"), Limits: []Limit{{Metric: Requests, Rate: 6000, Period: time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(c) })
	for _, body := range []string{"too many requests in flight", "Maximum concurrent requests reached", "您当前使用该API的并发数过高"} {
		refused := false
		_, err = Do(t.Context(), c, nil, func(context.Context, *Grant) (int, error) {
			if refused {
				return 0, nil
			}
			refused = true
			return 0, &StatusError{StatusCode: 429, Header: http.Header{"Retry-After-Ms": {"1"}}, Body: []byte(body)}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range rdb.HGetAll(t.Context(), scripts.PoolKey("p")).Val() {
		if strings.HasPrefix(name, "t:") && len(strings.Fields(value)) == 6 {
			t.Errorf("got %s slowed: %q, want its whole pace", name, value)
		}
	}
}
