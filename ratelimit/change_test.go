package ratelimit_test

import (
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/ratelimit"
)

// TestLimitChange_KeepsConsumedTime changes the limit of a key: the consumption is kept as time.
func TestLimitChange_KeepsConsumedTime(t *testing.T) {
	bubble(t, func(t *testing.T, rdb *redis.Client) {
		l := ratelimit.NewLimiter(rdb)
		hourly := ratelimit.PerHour(60) // a unit a minute
		if _, err := l.AllowN(t.Context(), "k", hourly, 30); err != nil {
			t.Fatal(err)
		}
		for limit, want := range map[ratelimit.Limit]int{
			hourly:                 30,
			ratelimit.PerHour(120): 60, // half an hour of 120 an hour is used
			ratelimit.PerHour(6):   3,
			{Rate: 60, Burst: 100, Period: time.Hour}: 70,
			{Rate: 60, Burst: 20, Period: time.Hour}:  0,
		} {
			if res, err := l.Peek(t.Context(), "k", limit); err != nil || res.Remaining != want {
				t.Errorf("got %v: %+v, %v; want %d remaining", limit, res, err, want)
			}
		}
		// Under the smaller burst the first unit is available when 19 of the 30 are still consumed.
		small := ratelimit.Limit{Rate: 60, Burst: 20, Period: time.Hour}
		res, err := l.Allow(t.Context(), "k", small)
		if err != nil || res.RetryAfter < 10*time.Minute || res.RetryAfter > 12*time.Minute {
			t.Errorf("got %+v, %v; want a refusal for 11 minutes", res, err)
		}
	})
}

// TestLimitChange_BoundsOldAndNewTogether uses one key with two limits at the same time. In any time t, the units admitted take
// at most t plus the longer burst, each counted as its emission interval.
func TestLimitChange_BoundsOldAndNewTogether(t *testing.T) {
	rdb := redistest.Client(t)
	limits := []ratelimit.Limit{
		{Rate: 1000, Burst: 50, Period: time.Second},
		{Rate: 3000, Burst: 20, Period: time.Second},
	}
	var mu sync.Mutex
	var trace []admitted // in seconds instead of units
	var wg sync.WaitGroup
	end := time.Now().Add(time.Second)
	for _, limit := range limits {
		interval := limit.Period.Seconds() / float64(limit.Rate)
		l := ratelimit.NewLimiter(redistest.Another(t, rdb))
		for i := range 8 {
			wg.Go(func() {
				cost := 1 + i
				for time.Now().Before(end) {
					r, err := l.Reserve(t.Context(), ratelimit.Charge{Key: "k", Limit: limit, Cost: cost})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					trace = append(trace, admitted{r.Slot(), float64(cost) * interval})
					mu.Unlock()
					time.Sleep(r.Delay())
				}
			})
		}
	}
	wg.Wait()
	const longest = 50 * 1000 // µs: the first limit's burst
	for i := range trace {
		trace[i].units *= 1e6
	}
	if e := excess(trace, 1e-6, longest); e > 1 {
		t.Errorf("exceeded by %v µs", e)
	}
}
