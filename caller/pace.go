package caller

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// recentLatencies is how many latencies a percentile is taken of.
	recentLatencies = 256
	// enoughLatencies is how many of them there must be, and how often the percentile is worked out anew.
	enoughLatencies, everyLatencies = 64, 16
)

// latencies knows how long calls of each model and endpoint took of late. Safe for concurrent use.
type latencies struct{ known[recent] }

// recent is the last latencies of calls that are alike.
type recent struct {
	wait atomic.Int64 // the percentile, in nanoseconds; 0: not enough is known

	mu   sync.Mutex
	ring [recentLatencies]time.Duration
	n    int // so far
}

// name is what calls are alike by: in one word, since a request names both.
func (l *latencies) name(model, endpoint string) string { return model + "\x00" + endpoint }

// wait returns the percentile of what is alike, 0 while not enough is known.
func (l *latencies) wait(name string) time.Duration {
	r := l.find(name)
	if r == nil {
		return 0
	}
	return time.Duration(r.wait.Load())
}

// took takes in how long a request took.
func (l *latencies) took(name string, d time.Duration, percentile float64) {
	r := l.get(name)
	if r == nil || !r.mu.TryLock() { // of those that come together one is enough
		return
	}
	defer r.mu.Unlock()
	r.ring[r.n%recentLatencies] = d
	if r.n++; r.n < enoughLatencies || r.n%everyLatencies != 0 {
		return
	}
	sorted := slices.Clone(r.ring[:min(r.n, recentLatencies)])
	slices.Sort(sorted)
	at := int(math.Ceil(percentile*float64(len(sorted)))) - 1
	r.wait.Store(int64(cmp.Or(sorted[max(at, 0)], 1)))
}

// hedgeWait is when a call's first request counts as slow.
func (c *Pool) hedgeWait(name string) time.Duration {
	if c.plan.Hedge.Percentile == 0 {
		return c.plan.Hedge.After
	}
	return max(c.plan.Hedge.After, c.latencies.wait(name))
}

// timed takes in how long a request of a call that may be hedged took: first says that it was the attempt's first one.
// One that was overtaken would have taken longer than it did, but it is known to be slow, and that is what counts:
// without it the percentile would be one of the quick calls alone, and sink with every hedge. Not so the second one,
// which had just begun.
func (c *Pool) timed(name string, a Attempt, first bool) {
	slow := first && a.Verdict.Reason == overtaken
	if c.plan.Hedge.Percentile > 0 && a.Number > 0 && (a.Verdict.Outcome == Success || slow) {
		c.latencies.took(name, a.Latency, c.plan.Hedge.Percentile)
	}
}
