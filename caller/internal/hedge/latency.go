package hedge

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/caller/internal/bounded"
)

const (
	// recentLatencies is the number of latencies that a percentile is taken of.
	recentLatencies = 256
	// minLatencies is the number of latencies from which on there is a percentile.
	minLatencies = 64
	// updateEvery is the number of new latencies after which the percentile is computed again.
	updateEvery = 16
)

// latencies are the recent latencies of runs by name. Safe for concurrent use.
type latencies struct{ names bounded.Map[latency] }

// latency is the recent latencies of one name.
type latency struct {
	percentile atomic.Int64 // in nanoseconds; 0: fewer than minLatencies

	mu   sync.Mutex
	ring [recentLatencies]time.Duration
	n    int // added so far
}

// percentile returns the percentile of a name, or 0 if it has fewer than minLatencies.
func (l *latencies) percentile(name string) time.Duration {
	r := l.names.Find(name)
	if r == nil {
		return 0
	}
	return time.Duration(r.percentile.Load())
}

// add adds a latency, of which percentile is the given share.
func (l *latencies) add(name string, d time.Duration, share float64) {
	r := l.names.Get(name)
	if r == nil || !r.mu.TryLock() { // of concurrent latencies one is enough
		return
	}
	defer r.mu.Unlock()
	r.ring[r.n%recentLatencies] = d
	if r.n++; r.n < minLatencies || r.n%updateEvery != 0 {
		return
	}
	sorted := slices.Clone(r.ring[:min(r.n, recentLatencies)])
	slices.Sort(sorted)
	at := int(math.Ceil(share*float64(len(sorted)))) - 1
	r.percentile.Store(int64(cmp.Or(sorted[max(at, 0)], 1)))
}
