package admission

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/scripts"
)

// tokensCharged returns the tokens of an hourly limit that are charged in Redis.
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

// settled makes a call of ten tokens, corrects its units by a difference, and waits until Redis has confirmed all reports.
func settled(t *testing.T, c *Controller, difference int64) {
	t.Helper()
	g := acquire(t, c, 10)
	g.Settle([]int64{difference})
	g.Release()
	untilConfirmed(t, c)
}

// pending reports whether the outbox has reports.
func pending(c *Controller) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.outbox.empty()
}

// untilConfirmed waits until Redis has confirmed all reports.
func untilConfirmed(t *testing.T, c *Controller) {
	t.Helper()
	for confirmed := false; !confirmed; {
		testkit.Eventually(t, "the outbox is empty", func() bool { return !pending(c) })
		// The reports may be in flight, and come back if their call fails. Once one more call has ended, they are confirmed.
		acquire(t, c, 0).Release()
		confirmed = !pending(c)
	}
}

// What a call really cost is charged, or comes back, soon after the call.
func TestSettle_ChangesWhatIsCharged(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	c := start(t, rdb, configOf([]Limit{hourly()}, "k"))
	for _, step := range []struct {
		difference int64
		want       int
	}{{5, 15}, {-7, 18}, {0, 28}, {300, 338}, {-10, 338}} {
		settled(t, c, step.difference)
		if got := tokensCharged(t, rdb); got != step.want {
			t.Errorf("after a difference of %d: got %d charged, want %d", step.difference, got, step.want)
		}
	}
}

// A settlement whose script calls fail half-way counts exactly once, whether the script ran or not, and so does what is
// settled meanwhile.
func TestSettle_CountsOnceThroughFaults(t *testing.T) {
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
// carries it, by one more.
func settledThrough(t *testing.T, difference int64, set ...func(*redistest.Faults, redistest.Match) *redistest.Rule) {
	rdb := redistest.Client(t)
	faults := redistest.NewFaults(t)
	c := start(t, faults.Client(t, rdb.Options()), configOf([]Limit{hourly()}, "k"))
	acquire(t, c, 0).Release() // the server has the script now
	var rules []*redistest.Rule
	for i, its := range set {
		if its != nil {
			rules = append(rules, its(faults, redistest.Nth(i+1, redistest.Contains("\r\nsettle\r\n"))))
		}
	}
	g := acquire(t, c, 10)
	g.Settle([]int64{difference})
	rules[0].Wait(t, 1)
	g.Settle([]int64{1})
	g.Release()
	untilConfirmed(t, c)
	for _, r := range rules {
		r.Wait(t, 1)
		r.Release() // what was held arrives after newer calls
	}
	acquire(t, c, 0).Release()
	if got, want := tokensCharged(t, rdb), int(10+difference+1); got != want {
		t.Errorf("got %d tokens charged, want %d", got, want)
	}
}

// A debt keeps others waiting, a refund lets them go earlier; but however large, it gives no more than a burst.
func TestSettle_DebtAndRefundMoveSendTimes(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		cfg := configOf([]Limit{bucket(600, time.Minute, 50)}, "k") // ten a second
		cfg.Horizon = 10 * time.Second
		a, b := visit(t, rdb, cfg), visit(t, rdb, cfg)
		urgent := func(units int64) Request { return Request{Priority: high, Units: []int64{units}} }
		settle := func(units int64) report { return settlement(a.topology.counters[0].name, units) }
		if got := a.count(noon, 1, urgent(50)); got != 1 {
			t.Fatalf("got %d calls of the burst, want 1", got)
		}
		a.ask(noon, 0, urgent(0), settle(20))
		sendsIn := func(v *visitor, now time.Time, n int, units int64) time.Duration {
			grants, _ := v.ask(now, n, urgent(units))
			if len(grants) != n {
				t.Fatalf("got %d calls, want %d", len(grants), n)
			}
			return grants[n-1].in.Round(time.Millisecond)
		}
		if got := sendsIn(b, noon, 1, 10); got != 3*time.Second {
			t.Errorf("20 owed and 10 wanted at ten a second: got in %v, want 3s", got)
		}
		a.ask(noon, 0, urgent(0), settle(-15))
		if got := sendsIn(b, noon, 1, 10); got != 2500*time.Millisecond {
			t.Errorf("15 came back: got in %v, want 2.5s", got)
		}
		later := noon.Add(time.Hour)
		a.ask(later, 0, urgent(0), settle(-1_000_000))
		if got := sendsIn(b, later, 6, 10); got != time.Second {
			t.Errorf("the sixth call of 10 with a burst of 50: got in %v, want 1s", got)
		}
	})
}
