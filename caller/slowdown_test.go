package caller

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/scripts"
)

// slows is what a 429 on the pool's only counter reports, as Caller.coolDown does.
func slows(v *visitor) item {
	per := v.plan.Limits[0].Period
	return item{counter: v.layout.counters[0].name, PoolReport: scripts.PoolReport{
		Kind: scripts.SlowCounter, Factor: throttledPace, For: recovery * per, Quiet: max(per/4, time.Second),
	}}
}

// paceAt measures the share of its pace at which an idle limit is used.
func paceAt(v *visitor, now time.Time) float64 {
	v.t.Helper()
	grants, _ := v.ask(now, 3, Options{Priority: PriorityHigh}, nil)
	if len(grants) != 3 {
		v.t.Fatalf("%d of 3 calls", len(grants))
	}
	return v.plan.paces[0].interval / (grants[2].in - grants[1].in).Seconds()
}

func near(a, b float64) bool { return math.Abs(a-b) < 0.001 }

// After a 429 the whole fleet uses the limit at three quarters of its pace, which comes back evenly. 429s that come
// together count as one, and however many there are, some pace is left.
func TestALimitIsSlowerAfterA429(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		limit := Limit{Metric: Requests, Rate: 100, Period: 10 * time.Second} // whole again after 100 s from nothing
		cfg := Config{Keys: accountsNamed("k"), Limits: []Limit{limit}, Tuning: Tuning{Horizon: time.Minute}}
		a, b := visit(t, rdb, cfg), visit(t, rdb, cfg)
		if got := paceAt(a, noon); !near(got, 1) {
			t.Fatalf("pace %v at first", got)
		}
		b.ask(noon, 0, Options{}, nil)
		at := noon.Add(time.Minute)
		a.ask(at, 0, Options{}, nil, slows(a), slows(a))
		b.ask(at.Add(2400*time.Millisecond), 0, Options{}, nil, slows(b)) // within a quarter of the period
		for after, want := range map[time.Duration]float64{
			5 * time.Second: 0.80, 10 * time.Second: 0.85, 20 * time.Second: 0.95, 25 * time.Second: 1, time.Hour: 1,
		} {
			// Each on a pool of its own, since measuring uses the limit.
			pool := fmt.Sprint("after ", after)
			state := rdb.HGetAll(t.Context(), scripts.PoolKey("p")).Val()
			for name, value := range state {
				if !strings.HasPrefix(name, "s:") && name != "w" && name != "q" {
					rdb.HSet(t.Context(), scripts.PoolKey(pool), name, value)
				}
			}
			v := visit(t, rdb, Config{Name: pool, Keys: cfg.Keys, Limits: cfg.Limits, Tuning: cfg.Tuning})
			if got := paceAt(v, at.Add(after)); !near(got, want) {
				t.Errorf("%v after the 429: pace %.4f, want %.2f", after, got, want)
			}
		}
		again := at.Add(5 * time.Second)
		b.ask(again, 0, Options{}, nil, slows(b))
		if got := paceAt(a, again); !near(got, 0.8*0.75) {
			t.Errorf("after another 429: pace %.4f, want 0.6", got)
		}
		for range 50 {
			again = again.Add(2500 * time.Millisecond)
			a.ask(again, 0, Options{}, nil, slows(a))
		}
		if got := paceAt(b, again.Add(time.Millisecond)); got < 0.05 || got > 0.12 {
			t.Errorf("after fifty more: pace %.4f, want 0.05 to 0.1", got)
		}
	})
}

// A 429 that the provider sends slows the account's own limits, and neither the pool's nor other accounts'.
func TestA429SlowsItsAccount(t *testing.T) {
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
