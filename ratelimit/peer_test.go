package ratelimit_test

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/ratelimit"
)

// FuzzAgainstRedisRate makes the same calls of redis_rate and of this package, at the same times, on keys of their own,
// and compares the answers. Errors of redis_rate are left out:
//
//   - AllowAtMost charges fractions of a unit that it doesn't grant: compared only if the call is granted in full.
//   - Remaining may be one low by rounding: taken as equal if redis_rate's value is within rounding of a whole number.
//   - invalid limits and costs are not used.
func FuzzAgainstRedisRate(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		mini, rdb := redistest.Mini(t)
		rnd := rand.New(rand.NewPCG(seed, 3))
		limit := ratelimit.Limit{
			Rate: 1 + rnd.IntN(200), Burst: 1 + rnd.IntN(50),
			Period: time.Duration(1+rnd.IntN(1000)) * 10 * time.Millisecond,
		}
		peer := redis_rate.NewLimiter(rdb)
		ours, err := ratelimit.New(rdb, ratelimit.Config{RefusalTTL: -1})
		if err != nil {
			t.Fatal(err)
		}
		now, start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), time.Now()
		for range 60 {
			if rnd.IntN(3) > 0 {
				now = now.Add(time.Duration(rnd.Int64N(3*int64(limit.Interval()) + 2000)).Truncate(time.Microsecond))
			}
			mini.SetTime(now)
			n := rnd.IntN(limit.Burst + 2)
			want, err := peer.AllowN(t.Context(), "peer", peerLimit(limit), n)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ours.AllowN(t.Context(), "ours", limit, n)
			if err != nil {
				t.Fatal(err)
			}
			if got.Allowed != want.Allowed || !near(got.RetryAfter, want.RetryAfter) || !near(got.ResetAfter, want.ResetAfter) {
				if marginal(limit, n, want) {
					return // redis_rate refused, or not, by a rounding error; the states now differ
				}
				if time.Since(start) > time.Second {
					return // the machine paused, which looks like a clock that was set back
				}
				t.Fatalf("%v, %d units: %+v, redis_rate has %+v", limit, n, got, want)
			}
			if d := got.Remaining - want.Remaining; d != 0 && !(d == 1 && whole(limit, want.ResetAfter)) {
				t.Fatalf("%v, %d units: %d remaining, redis_rate has %d", limit, n, got.Remaining, want.Remaining)
			}
		}
	})
}

func near(a, b time.Duration) bool { return max(a-b, b-a) < 2*time.Microsecond }

// whole reports whether a limit that will be at rest after reset has used a whole number of units.
func whole(limit ratelimit.Limit, reset time.Duration) bool {
	units := reset.Seconds() * float64(limit.Rate) / limit.Period.Seconds()
	return math.Abs(units-math.Round(units))*limit.Period.Seconds()/float64(limit.Rate) < 1e-6
}

// marginal reports whether rounding decides if n units fit.
func marginal(limit ratelimit.Limit, n int, res *redis_rate.Result) bool {
	interval := limit.Period.Seconds() / float64(limit.Rate)
	units := res.ResetAfter.Seconds() / interval
	if res.Allowed > 0 {
		units -= float64(n)
	}
	return math.Abs(units+float64(n)-float64(limit.Burst))*interval < 1e-6
}

// TestPeer_SharesLimit uses one key from redis_rate and from this package. Together they never exceed the limit.
func TestPeer_SharesLimit(t *testing.T) {
	rdb := redistest.Client(t)
	limit := ratelimit.Limit{Rate: 500, Burst: 20, Period: time.Second}
	peer, ours := redis_rate.NewLimiter(rdb), ratelimit.NewLimiter(redistest.Another(t, rdb))
	var admitted, byPeer atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	end := start.Add(time.Second)
	for range 8 {
		wg.Go(func() {
			for time.Now().Before(end) {
				res, err := peer.AllowN(t.Context(), "k", peerLimit(limit), 2)
				if err != nil {
					t.Error(err)
					return
				}
				admitted.Add(int64(res.Allowed))
				byPeer.Add(int64(res.Allowed))
			}
		})
		wg.Go(func() {
			for time.Now().Before(end) {
				res, err := ours.Allow(t.Context(), "k", limit)
				if err != nil {
					t.Error(err)
					return
				}
				admitted.Add(int64(res.Allowed))
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	most := float64(limit.Burst) + took.Seconds()*float64(limit.Rate)
	if n := admitted.Load(); float64(n) > most {
		t.Errorf("%d units admitted in %v, the limit allows %.0f", n, took, most)
	}
	t.Logf("%d units admitted, %d of them by redis_rate; the limit allows %.0f", admitted.Load(), byPeer.Load(), most)
	if n, p := admitted.Load(), byPeer.Load(); n-p == 0 {
		t.Error("this package got nothing")
	}
}

// TestPeer_SharesState checks that each package sees what the other one charges.
func TestPeer_SharesState(t *testing.T) {
	rdb := redistest.Client(t)
	limit := ratelimit.PerHour(10)
	peer, ours := redis_rate.NewLimiter(rdb), ratelimit.NewLimiter(rdb)
	if _, err := peer.AllowN(t.Context(), "k", peerLimit(limit), 3); err != nil {
		t.Fatal(err)
	}
	r, err := ours.Reserve(t.Context(), ratelimit.Charge{Key: "k", Limit: limit, Cost: 4})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := peer.AllowN(t.Context(), "k", peerLimit(limit), 0); err != nil || res.Remaining != 3 {
		t.Fatalf("got %+v, %v; want 3 remaining", res, err)
	}
	r.Cancel() // adds the total given back to the state
	testkit.Eventually(t, "the refund arrives", func() bool {
		res, err := peer.AllowN(t.Context(), "k", peerLimit(limit), 0)
		return err == nil && res.Remaining == 7
	})
	if _, err := peer.AllowN(t.Context(), "k", peerLimit(limit), 2); err != nil {
		t.Fatal(err)
	}
	if res, err := ours.Peek(t.Context(), "k", limit); err != nil || res.Remaining != 5 {
		t.Fatalf("got %+v, %v; want 5 remaining", res, err)
	}
}
