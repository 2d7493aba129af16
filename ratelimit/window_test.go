package ratelimit_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/ratelimit"
)

// TestWindow_IsNeverExceeded makes calls at random times on a Window limit, delays each admitted one by at most the slack,
// and looks for a window with too many.
func TestWindow_IsNeverExceeded(t *testing.T) {
	mini, rdb := redistest.Mini(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		n := rapid.IntRange(1, 40).Draw(t, "n")
		burst := rapid.IntRange(1, n).Draw(t, "burst")
		window := time.Duration(rapid.Int64Range(1e6, 60e9).Draw(t, "window"))
		slack := time.Duration(rapid.Int64Range(0, int64(window)/2).Draw(t, "slack"))
		limit := ratelimit.Window(n, window, burst, slack)
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		l, err := ratelimit.New(rdb, ratelimit.Config{RefusalTTL: -1, Prefix: string(rune('a'+run%26)) + time.Duration(run).String()})
		if err != nil {
			t.Fatal(err)
		}
		var arrivals []time.Duration
		var elapsed time.Duration
		begin := time.Now()
		for range 3 * n {
			mini.SetTime(now.Add(elapsed))
			res, err := l.AllowN(t.Context(), "k", limit, 1+rnd.IntN(burst))
			if err != nil {
				t.Fatal(err)
			}
			for range res.Allowed {
				arrivals = append(arrivals, elapsed+time.Duration(rnd.Float64()*float64(slack)))
			}
			switch rnd.IntN(4) {
			case 0: // the next call comes at once
			case 1: // as early as it can
				elapsed += max(res.RetryAfter, 0).Truncate(time.Microsecond) + time.Microsecond
			default:
				elapsed += time.Duration(rnd.ExpFloat64() * float64(limit.Interval())).Truncate(time.Microsecond)
			}
		}
		if time.Since(begin) > time.Second {
			return // the machine paused, which looks like a clock that was set back
		}
		slices.Sort(arrivals)
		for i := range arrivals[:max(len(arrivals)-n, 0)] {
			// A half-open window of the length that begins at arrival i ends before arrival i+n.
			if d := arrivals[i+n] - arrivals[i]; d < window {
				t.Fatalf("%d arrivals within %v, at most %d allowed in %v (burst %d, slack %v)", n+1, d, n, window, burst, slack)
			}
		}
	})
}

// TestWindow_UsesItsQuota checks that a saturated Window limit with a burst of 1 admits at least 99 % of
// n·window/(window+slack) units in each window.
func TestWindow_UsesItsQuota(t *testing.T) {
	for _, n := range []int{1, 7, 60, 600, 10_000} {
		for _, window := range []time.Duration{time.Second, 10 * time.Second, time.Minute, time.Hour} {
			for _, slack := range []time.Duration{0, 10 * time.Millisecond, 100 * time.Millisecond} {
				limit := ratelimit.Window(n, window, 1, slack)
				if err := limit.Validate(); err != nil {
					t.Fatal(err)
				}
				got := window.Seconds() / limit.Period.Seconds() * float64(limit.Rate)
				want := float64(n) * window.Seconds() / (window + slack).Seconds()
				if got < 0.99*want || got > want {
					t.Errorf("%d per %v, slack %v: %v per window, want %v", n, window, slack, got, want)
				}
			}
		}
	}
}

// TestWindow_RefusesInvalidArguments checks each invalid argument.
func TestWindow_RefusesInvalidArguments(t *testing.T) {
	for name, l := range map[string]ratelimit.Limit{
		"no units":       ratelimit.Window(0, time.Second, 1, 0),
		"no burst":       ratelimit.Window(5, time.Second, 0, 0),
		"burst above n":  ratelimit.Window(5, time.Second, 6, 0),
		"no window":      ratelimit.Window(5, 0, 1, 0),
		"negative slack": ratelimit.Window(5, time.Second, 1, -1),
		"overflow":       ratelimit.Window(5, math.MaxInt64, 1, time.Second),
	} {
		if l.Validate() == nil {
			t.Errorf("%s: %v is accepted", name, l)
		}
	}
}
