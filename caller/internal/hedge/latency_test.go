package hedge

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/penstock/penstock/caller/internal/bounded"
)

var (
	first  = &Run{}
	second = &Run{Second: true}
)

// The wait is the percentile of the name's recent latencies, and at least After.
func TestHedger_WaitsForThePercentile(t *testing.T) {
	t.Parallel()
	const after = 5 * time.Millisecond
	for _, percentile := range []float64{0.5, 0.9, 0.95, 0.99} {
		r := rand.New(rand.NewPCG(1, uint64(percentile*100)))
		h := New(Config{After: after, Percentile: percentile})
		var last []time.Duration
		for n := 1; n <= 2000; n++ {
			d := time.Duration(r.ExpFloat64() * float64(10*time.Millisecond))
			last = append(last, d)
			h.Record("m", []*Run{first, second}[n%2], d, false)
			want := after
			if n >= minLatencies {
				known := slices.Clone(last[max(0, n/updateEvery*updateEvery-recentLatencies) : n/updateEvery*updateEvery])
				slices.Sort(known)
				// The least of them that at least this share doesn't exceed.
				at, _ := slices.BinarySearchFunc(known, percentile, func(d time.Duration, p float64) int {
					share := float64(countUpTo(known, d)) / float64(len(known))
					if share < p {
						return -1
					}
					return 1
				})
				want = max(after, known[at])
			}
			if got := h.Wait("m"); got != want {
				t.Fatalf("percentile %v, after %d latencies: got %v, want %v", percentile, n, got, want)
			}
		}
		if got := h.Wait("other"); got != after {
			t.Errorf("another name: got %v, want %v", got, after)
		}
	}
}

func countUpTo(sorted []time.Duration, d time.Duration) int {
	n, _ := slices.BinarySearch(sorted, d+1)
	return n
}

// Without a percentile the wait is After, and no latency is kept.
func TestHedger_WithoutPercentileWaitsForAfter(t *testing.T) {
	t.Parallel()
	h := New(Config{After: time.Millisecond})
	for range 1000 {
		h.Record("m", first, time.Second, false)
	}
	if got := h.Wait("m"); got != time.Millisecond || h.latencies.names.Find("m") != nil {
		t.Errorf("got %v, want %v and no latencies", got, time.Millisecond)
	}
}

// First runs that lost count as slow. If they did not count, each hedge would shorten the next wait, until all calls are
// hedged. Second runs that lost don't count.
func TestHedger_KeepsTheShareOfSecondRuns(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	// A long tail: a slow run mostly loses.
	latency := func() time.Duration { return time.Duration(float64(10*time.Millisecond) / math.Pow(1-r.Float64(), 3)) }
	h := New(Config{After: time.Millisecond, Percentile: 0.95})
	hedges, losses := 0, 0
	const calls = 20_000
	for range calls {
		one, wait := latency(), h.Wait("m")
		if one <= wait || wait == time.Millisecond {
			h.Record("m", first, one, false)
			continue
		}
		hedges++
		if two := latency(); wait+two < one {
			h.Record("m", second, two, false)
			h.Record("m", first, wait+two, true)
			losses++
		} else {
			h.Record("m", first, one, false)
			h.Record("m", second, one-wait, true)
		}
	}
	if share := float64(hedges) / calls; share < 0.03 || share > 0.12 || losses < hedges/2 {
		t.Errorf("got a second run for %.3f of the calls, %d of %d first runs lost, want about 0.05, and half", share, losses, hedges)
	}
}

// Latencies are kept for a bounded number of names.
func TestHedger_KeepsABoundedNumberOfNames(t *testing.T) {
	t.Parallel()
	h := New(Config{After: 1, Percentile: 0.95})
	for i := range 10 * bounded.MaxNames {
		h.Record(fmt.Sprint(i), first, 1, false)
	}
	n := 0
	if h.latencies.names.Each(func(string, *latency) { n++ }); n > bounded.MaxNames {
		t.Errorf("got %d names, want at most %d", n, bounded.MaxNames)
	}
}
