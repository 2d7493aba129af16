package concurrency

import (
	"slices"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
)

// BenchmarkHandoff measures the time from a release in one process to the lease in another that waits.
func BenchmarkHandoff(b *testing.B) {
	rdb := redistest.Client(b)
	from, to := newTest(b, rdb, Config{Limit: 1}), newTest(b, redistest.Another(b, rdb), Config{Limit: 1})
	var took []time.Duration
	for b.Loop() {
		l := acquire(b, from, 1)
		got := make(chan time.Time)
		go func() {
			m := acquire(b, to, 1)
			got <- time.Now()
			m.Release()
		}()
		for to.Stats().PermitsWaitedFor == 0 {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(5 * time.Millisecond) // until Redis knows of the waiter
		released := time.Now()
		l.Release()
		took = append(took, (<-got).Sub(released))
		from, to = to, from
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
}
