package caller

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/scripts"
)

// arrival is a call as the provider sees it.
type arrival struct {
	at   float64 // seconds
	cost int64
}

// rush is a random history of several sessions on one limit, through the real script: who asks when, and for what.
type rush struct {
	limit    Limit
	jitter   time.Duration
	horizon  time.Duration
	shapes   []*scripts.EncodedConfig
	arrivals []arrival
}

func drawRush(t *rapid.T, algorithm Algorithm) *rush {
	l := Limit{
		Metric: Tokens, Algorithm: algorithm,
		Rate:   rapid.Int64Range(1, 60).Draw(t, "limit"),
		Period: time.Duration(rapid.Int64Range(50, 3000).Draw(t, "per")) * time.Millisecond,
	}
	l.Reserved = rapid.SampledFrom([]float64{0, 0, 0.1, 0.5}).Draw(t, "reserved")
	if rapid.Bool().Draw(t, "fixed burst") {
		l.Burst = rapid.Int64Range(0, l.Usable()).Draw(t, "burst") // else one that grows
	}
	r := &rush{limit: l, jitter: time.Duration(rapid.Int64Range(1, 200).Draw(t, "jitter")) * time.Millisecond}
	pace, err := l.gcraParams(r.jitter)
	if err != nil {
		t.Skip(err.Error()) // a bucket that is too small for the jitter
	}
	r.horizon = time.Duration(rapid.Int64Range(1, 300).Draw(t, "horizon")) * time.Millisecond
	for i := range 3 {
		r.shapes = append(r.shapes, scripts.EncodeConfig(&scripts.PoolConfig{
			Session: fmt.Sprint(i), TTL: 10 * time.Second, Horizon: r.horizon, Strategy: scripts.LeastLoaded, Metrics: 1,
			Limits: []scripts.PoolLimit{{
				Name: "l", Scope: scripts.PerAccount, Interval: pace.interval, Burst: pace.burst, Limit: l.Usable(), Grows: pace.grows,
			}},
			ModelGroups: []scripts.PoolModelGroup{{Limits: []int{0}}},
			Accounts:    []scripts.PoolAccount{{ID: "a", Keys: []scripts.PoolKeyWeight{{ID: "k", Weight: 1}}}},
		}))
	}
	return r
}

// run asks, and lets each call arrive up to the jitter after its send time.
func (r *rush) run(t *rapid.T, rdb *redis.Client) {
	if err := rdb.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	extreme := rapid.Bool().Draw(t, "extreme delays")
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "delays"), 0))
	now := int64(300_000_000_000_000)
	for seq := range rapid.Int64Range(5, 60).Draw(t, "calls") {
		now += rapid.Int64Range(0, r.limit.Period.Microseconds()/4).Draw(t, "later")
		cost := int64(1)
		if rapid.Bool().Draw(t, "large") {
			cost = rapid.Int64Range(1, r.limit.Usable()).Draw(t, "cost")
		}
		demand := scripts.PoolDemand{Count: rapid.IntRange(1, 20).Draw(t, "count"), Prefer: -1, Cost: []int64{cost}}
		demand.Ahead = time.Duration(rapid.Int64Range(0, int64(r.horizon)).Draw(t, "ahead"))
		reply, err := scripts.Admit(t.Context(), rdb, "p", &scripts.PoolCall{
			Config: r.shapes[rapid.IntRange(0, len(r.shapes)-1).Draw(t, "session")], Seq: seq + 1, Now: now,
			Demands: []scripts.PoolDemand{demand},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range reply.Grants {
			delay := random.Float64()
			if extreme {
				delay = float64(random.IntN(2))
			}
			late := delay * (r.jitter - 2*time.Microsecond).Seconds() // send times are whole microseconds
			r.arrivals = append(r.arrivals, arrival{float64(g.SendAt-300_000_000_000_000)/1e6 + late, cost})
		}
	}
	slices.SortFunc(r.arrivals, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
}

// In no half-open window of the limit's length do more units arrive than the limit allows, however late each comes.
func TestWindow_IsNeverExceeded(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	rapid.Check(t, func(t *rapid.T) {
		r := drawRush(t, Window)
		r.run(t, rdb)
		var sum int64
		first := 0
		for _, a := range r.arrivals { // the window (a.at-Per, a.at]
			sum += a.cost
			for r.arrivals[first].at <= a.at-r.limit.Period.Seconds() {
				sum -= r.arrivals[first].cost
				first++
			}
			if sum > r.limit.Usable() {
				t.Fatalf("%d units within %v, usable %d: %v", sum, r.limit.Period, r.limit.Usable(), r.arrivals)
			}
		}
	})
}

// A bucket that holds Limit units and refills evenly in Per never lacks what arrives.
func TestBucket_NeverOverflows(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	rapid.Check(t, func(t *rapid.T) {
		r := drawRush(t, Bucket)
		r.run(t, rdb)
		size, last := float64(r.limit.Usable()), 0.0
		left := size
		for _, a := range r.arrivals {
			left = min(size, left+(a.at-last)*size/r.limit.Period.Seconds())
			left, last = left-float64(a.cost), a.at
			if left < -1e-6 {
				t.Fatalf("the bucket of %d lacks %v units: %v", r.limit.Usable(), -left, r.arrivals)
			}
		}
	})
}

// The emission interval and burst of each algorithm, with defaults and given.
func TestGCRAParams_Defaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		limit    Limit
		jitter   time.Duration
		interval float64
		burst    int64
	}{
		{Limit{Metric: Requests, Rate: 60, Period: time.Minute}, 0, 1, 1},
		{Limit{Metric: Requests, Rate: 60, Period: time.Minute}, 6 * time.Second, 1.1, 1},
		{Limit{Metric: Requests, Rate: 60, Period: 51 * time.Second, Burst: 10}, 0, 1, 10},
		{Limit{Metric: Tokens, Rate: 1000, Period: 981 * time.Second}, 0, 1, 20},
		{Limit{Metric: Tokens, Rate: 40, Period: 40 * time.Second}, 0, 1, 1},
		{Limit{Metric: Requests, Rate: 60, Period: time.Minute, Algorithm: Bucket}, 0, 1, 60},
		{Limit{Metric: Requests, Rate: 60, Period: time.Minute, Algorithm: Bucket}, 1500 * time.Millisecond, 1, 58},
		{Limit{Metric: Tokens, Rate: 60, Period: time.Minute, Algorithm: Bucket, Burst: 5}, 1500 * time.Millisecond, 1, 5},
		{Limit{Metric: Requests, Rate: maxUnits, Period: maxUnits}, 0, 1e-9, 1},
	} {
		p, err := test.limit.gcraParams(test.jitter)
		if err != nil || p.burst != test.burst || p.interval < test.interval*(1-1e-12) || p.interval > test.interval*(1+1e-12) {
			t.Errorf("%+v with jitter %v: got %+v, %v", test.limit, test.jitter, p, err)
		}
	}
}
