package caller

import (
	"context"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/scripts"
)

// hourly refills by a token an hour, so that what is charged can be read from Redis however long the test takes.
func hourly() Limit {
	return Limit{Metric: Tokens, Limit: 10_000, Per: 10_000 * time.Hour, Algorithm: Bucket, Burst: 5000}
}

// tokensCharged returns how many tokens of an hourly limit Redis has down as used.
func tokensCharged(t *testing.T, rdb *redis.Client) int {
	t.Helper()
	for name, value := range rdb.HGetAll(t.Context(), scripts.PoolKey("p")).Val() {
		if strings.HasPrefix(name, "t:") {
			tat, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			now := float64(scripts.Micros(time.Now())) / 1e6
			return int(math.Ceil((tat - now) / time.Hour.Seconds()))
		}
	}
	t.Fatal("no counter in Redis")
	return 0
}

// settled makes a call of ten tokens, corrects its cost by the difference, and waits until Redis was told of all that
// there is to tell.
func settled(t *testing.T, c *Caller, difference int64) {
	t.Helper()
	_, err := Do(t.Context(), c, Cost{Tokens: 10}, func(_ context.Context, g *Grant) (int, error) {
		c.pool.settle(g, Cost{Tokens: difference})
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		c.pool.mu.Lock()
		empty := c.pool.news.empty()
		c.pool.mu.Unlock()
		if empty {
			break
		}
		if time.Now().After(end) {
			t.Fatal("Redis isn't told")
		}
	}
	// The news may be under way, or may have been lost with their call. They are over when one more call is.
	if _, err := Do(t.Context(), c, nil, nothing); err != nil {
		t.Fatal(err)
	}
}

// What a call really cost is charged, or comes back, soon after the call.
func TestCostsAreSettled(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	c, err := New(rdb, Config{Pool: "p", Keys: accountsNamed("k"), Limits: []Limit{hourly()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(c) })
	for _, step := range []struct {
		difference int64
		want       int
	}{{5, 15}, {-7, 18}, {0, 28}, {300, 338}, {-10, 338}} {
		if settled(t, c, step.difference); tokensCharged(t, rdb) != step.want {
			t.Errorf("after a difference of %d: %d charged, want %d", step.difference, tokensCharged(t, rdb), step.want)
		}
	}
}

// A settlement whose script call fails half-way is never more generous than what was used: a refund counts at most once,
// a debt at least once.
func TestSettlementsThatAreLost(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct {
		set          func(*redistest.Faults, redistest.Match) *redistest.Rule
		debt, refund [2]int // what is charged in the end, from and to
	}{
		"reply lost":      {(*redistest.Faults).LoseReply, [2]int{15, 20}, [2]int{3, 3}},
		"reply held":      {(*redistest.Faults).HoldReply, [2]int{15, 20}, [2]int{3, 3}},
		"never got there": {(*redistest.Faults).Reset, [2]int{15, 15}, [2]int{3, 10}},
		"got there late":  {(*redistest.Faults).HoldCommand, [2]int{15, 15}, [2]int{3, 10}},
	} {
		for kind, c := range map[string]struct {
			difference int64
			want       [2]int
		}{"debt": {5, fault.debt}, "refund": {-7, fault.refund}} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				rdb := redistest.Client(t)
				faults := redistest.NewFaults(t)
				caller, err := New(faults.Client(t, rdb.Options()), Config{
					Pool: "p", Keys: accountsNamed("k"), Limits: []Limit{hourly()},
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { leave(caller) })
				if _, err := Do(t.Context(), caller, nil, nothing); err != nil { // the server has the script now
					t.Fatal(err)
				}
				rule := fault.set(faults, redistest.Nth(1, redistest.Contains("\r\nsettle\r\n")))
				settled(t, caller, c.difference)
				rule.Wait(t, 1)
				rule.Release() // what was held arrives after newer calls
				if _, err := Do(t.Context(), caller, nil, nothing); err != nil {
					t.Fatal(err)
				}
				if got := tokensCharged(t, rdb); got < c.want[0] || got > c.want[1] {
					t.Errorf("%d tokens charged, want %v", got, c.want)
				}
			})
		}
	}
}

// A debt keeps others waiting, a refund lets them go earlier; but however large, it gives no more than a burst.
func TestDebtAndRefund(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		limit := Limit{Metric: Tokens, Limit: 600, Per: time.Minute, Algorithm: Bucket, Burst: 50} // ten a second
		cfg := Config{Keys: accountsNamed("k"), Limits: []Limit{limit}, Horizon: 10 * time.Second}
		a, b := visit(t, rdb, cfg), visit(t, rdb, cfg)
		urgent := Options{Priority: Interactive}
		settle := func(units int64) item {
			return item{counter: a.layout.counters[0].name, PoolReport: scripts.PoolReport{Kind: scripts.SettleCounter, Units: units}}
		}
		if got := a.count(noon, 1, urgent, Cost{Tokens: 50}); got != 1 {
			t.Fatal("the burst isn't there")
		}
		a.ask(noon, 0, urgent, nil, settle(20))
		slot := func(v *visitor, now time.Time, n int, cost Cost) time.Duration {
			grants, _ := v.ask(now, n, urgent, cost)
			if len(grants) != n {
				t.Fatalf("%d of %d calls", len(grants), n)
			}
			return grants[n-1].in.Round(time.Millisecond)
		}
		if got := slot(b, noon, 1, Cost{Tokens: 10}); got != 3*time.Second {
			t.Errorf("20 owed and 10 wanted at ten a second: in %v, want 3s", got)
		}
		a.ask(noon, 0, urgent, nil, settle(-15))
		if got := slot(b, noon, 1, Cost{Tokens: 10}); got != 2500*time.Millisecond {
			t.Errorf("15 came back: in %v, want 2.5s", got)
		}
		later := noon.Add(time.Hour)
		a.ask(later, 0, urgent, nil, settle(-1_000_000))
		if got := slot(b, later, 6, Cost{Tokens: 10}); got != time.Second {
			t.Errorf("the sixth call of 10 with a burst of 50: in %v, want 1s", got)
		}
	})
}

// leave closes a Caller that a test is through with.
func leave(c *Caller) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = c.Close(ctx)
}
