package caller

import (
	"context"
	"fmt"
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
	return Limit{Metric: Tokens, Rate: 10_000, Period: 10_000 * time.Hour, Algorithm: Bucket, Burst: 5000}
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
func settled(t *testing.T, c *Pool, difference int64) {
	t.Helper()
	_, err := Do(t.Context(), c, Cost{Tokens: 10}, func(_ context.Context, g *Grant) (int, error) {
		c.pool.settle(g, Cost{Tokens: difference})
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	untilTold(t, c)
}

// untilTold waits until Redis has heard all news.
func untilTold(t *testing.T, c *Pool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		c.pool.mu.Lock()
		empty := c.pool.news.empty()
		c.pool.mu.Unlock()
		if !empty {
			if time.Now().After(end) {
				t.Fatal("Redis isn't told")
			}
			continue
		}
		// The news may be under way, or may be lost with their call. They are over when one more call is.
		if _, err := Do(t.Context(), c, nil, nothing); err != nil {
			t.Fatal(err)
		}
		c.pool.mu.Lock()
		empty = c.pool.news.empty()
		c.pool.mu.Unlock()
		if empty {
			return
		}
	}
}

// What a call really cost is charged, or comes back, soon after the call.
func TestCostsAreSettled(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	c, err := New(rdb, Config{Name: "p", Keys: accountsNamed("k"), Limits: []Limit{hourly()}})
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

// A settlement whose script calls fail half-way counts exactly once, whether the script ran or not, and so does what is
// settled meanwhile.
func TestSettlementsThatAreLost(t *testing.T) {
	t.Parallel()
	type fault = func(*redistest.Faults, redistest.Match) *redistest.Rule
	faults := map[string]fault{
		"reply lost":      (*redistest.Faults).LoseReply,
		"reply held":      (*redistest.Faults).HoldReply,
		"never got there": (*redistest.Faults).Reset,
		"got there late":  (*redistest.Faults).HoldCommand,
	}
	for first, its := range faults {
		for then, other := range map[string]fault{"": nil, "reply lost": faults["reply lost"], "never got there": faults["never got there"]} {
			for _, difference := range []int64{5, -7} {
				t.Run(fmt.Sprintf("%s, %s/%+d", first, then, difference), func(t *testing.T) {
					t.Parallel()
					settledThrough(t, difference, its, other)
				})
			}
		}
	}
}

// settledThrough settles a call of ten tokens by the difference and, once the first fault has struck the script call that
// told it, by one more.
func settledThrough(t *testing.T, difference int64, set ...func(*redistest.Faults, redistest.Match) *redistest.Rule) {
	rdb := redistest.Client(t)
	faults := redistest.NewFaults(t)
	c, err := New(faults.Client(t, rdb.Options()), Config{Name: "p", Keys: accountsNamed("k"), Limits: []Limit{hourly()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(c) })
	if _, err := Do(t.Context(), c, nil, nothing); err != nil { // the server has the script now
		t.Fatal(err)
	}
	var rules []*redistest.Rule
	for i, its := range set {
		if its != nil {
			rules = append(rules, its(faults, redistest.Nth(i+1, redistest.Contains("\r\nsettle\r\n"))))
		}
	}
	_, err = Do(t.Context(), c, Cost{Tokens: 10}, func(_ context.Context, g *Grant) (int, error) {
		c.pool.settle(g, Cost{Tokens: difference})
		rules[0].Wait(t, 1)
		c.pool.settle(g, Cost{Tokens: 1})
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	untilTold(t, c)
	for _, r := range rules {
		r.Wait(t, 1)
		r.Release() // what was held arrives after newer calls
	}
	if _, err := Do(t.Context(), c, nil, nothing); err != nil {
		t.Fatal(err)
	}
	if got, want := tokensCharged(t, rdb), int(10+difference+1); got != want {
		t.Errorf("%d tokens charged, want %d", got, want)
	}
}

// What nobody can tell any more, because Redis has forgotten which call of the session was the last to run, isn't given
// back; a debt is charged.
func TestSettlementsThatAreLostForLong(t *testing.T) {
	t.Parallel()
	p, err := newPlan(Config{Name: "p", Keys: accountsNamed("k"), Limits: []Limit{hourly()}})
	if err != nil {
		t.Fatal(err)
	}
	l := p.layOut(p.accounts, []family{p.family("")}, noon)
	for _, test := range []struct {
		units int64
		after time.Duration
		told  bool
	}{{-7, 0, true}, {-7, 59 * time.Second, true}, {-7, 60 * time.Second, false}, {5, time.Hour, true}} {
		var n news
		n.settle(l.counters[0].name, test.units)
		told := n.take(1, noon)
		n.again(told, 1, scripts.Unknown)
		again := n.take(2, noon.Add(test.after))
		reports := again.reports(l, noon.Add(test.after), time.Minute)
		if len(reports) == 0 || reports[0].Kind != scripts.UnlessRan || reports[0].Seq != 1 || (len(reports) == 2) != test.told {
			t.Errorf("%d units, %v later: %+v", test.units, test.after, reports)
		}
	}
}

// A debt keeps others waiting, a refund lets them go earlier; but however large, it gives no more than a burst.
func TestDebtAndRefund(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		limit := Limit{Metric: Tokens, Rate: 600, Period: time.Minute, Algorithm: Bucket, Burst: 50} // ten a second
		cfg := Config{Keys: accountsNamed("k"), Limits: []Limit{limit}, Tuning: Tuning{Horizon: 10 * time.Second}}
		a, b := visit(t, rdb, cfg), visit(t, rdb, cfg)
		urgent := Options{Priority: PriorityHigh}
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
func leave(c *Pool) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = c.Close(ctx)
}
