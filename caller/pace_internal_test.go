package caller

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func hedger(h Hedge) *Pool { return &Pool{plan: &settings{Config: Config{Hedge: h}}} }

func took(d time.Duration, o Outcome, reason string) Attempt {
	return Attempt{Number: 1, Latency: d, Verdict: Verdict{Outcome: o, Reason: reason}}
}

// The wait is the percentile of the last answers of the same name, and never less than After.
func TestHedgeWait(t *testing.T) {
	t.Parallel()
	const after = 5 * time.Millisecond
	for _, percentile := range []float64{0.5, 0.9, 0.95, 0.99} {
		r := rand.New(rand.NewPCG(1, uint64(percentile*100)))
		c := hedger(Hedge{After: after, Percentile: percentile})
		var last []time.Duration
		for n := 1; n <= 2000; n++ {
			d := time.Duration(r.ExpFloat64() * float64(10*time.Millisecond))
			last = append(last, d)
			c.timed("m", took(d, Success, ""), n%2 == 0)
			c.timed("m", took(time.Hour, Transient, "timeout"), true) // no answer says nothing of answers
			want := after
			if n >= enoughLatencies {
				known := slices.Clone(last[max(0, n/everyLatencies*everyLatencies-recentLatencies) : n/everyLatencies*everyLatencies])
				slices.Sort(known)
				// At least this share of them is no slower, and with one less it would not be.
				at, _ := slices.BinarySearchFunc(known, percentile, func(d time.Duration, p float64) int {
					share := float64(countUpTo(known, d)) / float64(len(known))
					if share < p {
						return -1
					}
					return 1
				})
				want = max(after, known[at])
			}
			if got := c.hedgeWait("m"); got != want {
				t.Fatalf("percentile %v, after %d answers: wait %v, want %v", percentile, n, got, want)
			}
		}
		if got := c.hedgeWait("other"); got != after {
			t.Errorf("calls of another name wait %v", got)
		}
	}
	c := hedger(Hedge{After: after})
	for range 1000 {
		c.timed("m", took(time.Second, Success, ""), true)
	}
	if got := c.hedgeWait("m"); got != after || c.latencies.find("m") != nil {
		t.Errorf("without a percentile: %v", got)
	}
}

func countUpTo(sorted []time.Duration, d time.Duration) int {
	n, _ := slices.BinarySearch(sorted, d+1)
	return n
}

// Requests that are overtaken count as slow: else every hedge would make the next wait shorter, until all calls are
// hedged. Second requests that are overtaken say nothing.
func TestHedgesDoNotFeedOnThemselves(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	// A long tail: whoever is slow is mostly overtaken.
	latency := func() time.Duration { return time.Duration(float64(10*time.Millisecond) / math.Pow(1-r.Float64(), 3)) }
	c := hedger(Hedge{After: time.Millisecond, Percentile: 0.95})
	hedges, overtakes := 0, 0
	const calls = 20_000
	for range calls {
		first, wait := latency(), c.hedgeWait("m")
		if first <= wait || wait == time.Millisecond {
			c.timed("m", took(first, Success, ""), true)
			continue
		}
		hedges++
		if second := latency(); wait+second < first {
			c.timed("m", took(second, Success, ""), false)
			c.timed("m", took(wait+second, Canceled, overtaken), true)
			overtakes++
		} else {
			c.timed("m", took(first, Success, ""), true)
			c.timed("m", took(first-wait, Canceled, overtaken), false)
		}
	}
	if share := float64(hedges) / calls; share < 0.03 || share > 0.12 || overtakes < hedges/2 {
		t.Errorf("%.3f of the calls were hedged, want about 0.05; %d of %d were overtaken", share, overtakes, hedges)
	}
}

func TestLatenciesAreBounded(t *testing.T) {
	t.Parallel()
	c := hedger(Hedge{After: 1, Percentile: 0.95})
	for i := range 10 * maxKnown {
		c.timed(fmt.Sprint(i), took(1, Success, ""), true)
	}
	n := 0
	if c.latencies.each(func(string, *recent) { n++ }); n > maxKnown {
		t.Errorf("%d names are known, at most %d should be", n, maxKnown)
	}
}

func TestHedgeIsChecked(t *testing.T) {
	t.Parallel()
	for h, wrong := range map[Hedge]bool{
		{}: false, {After: 1}: false, {After: 1, Percentile: 0.95}: false, {After: 1, Percentile: 0.5}: false,
		{After: -1}: true, {Percentile: 0.95}: true, {After: 1, Percentile: 1}: true, {After: 1, Percentile: 0.4}: true,
		{After: 1, Percentile: -0.95}: true, {After: 1, Percentile: math.NaN()}: true, {After: 1, Percentile: 95}: true,
	} {
		if err := h.check(); (err != nil) != wrong {
			t.Errorf("%+v: %v", h, err)
		}
	}
}
