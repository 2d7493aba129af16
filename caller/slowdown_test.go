package caller

import (
	"context"
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
		if !strings.HasPrefix(name, "f:") {
			continue
		}
		slowed = append(slowed, name)
		if f := strings.Fields(value); len(f) != 3 || f[0] != "0.75" || f[2] != "600" {
			t.Errorf("%s is %q, want three quarters, whole again after 600 s", name, value)
		}
	}
	if want := "f:" + *first.Load() + ":"; len(slowed) != 1 || !strings.HasPrefix(slowed[0], want) {
		t.Errorf("slowed %v, want only what begins with %s", slowed, want)
	}
}

type throttled struct{}

func (throttled) Error() string { return "429" }

func (throttled) Verdict() Verdict {
	return Verdict{Outcome: Throttled, Scope: ScopeAccount, RetryAfter: time.Millisecond, Reason: "rate_limit"}
}
