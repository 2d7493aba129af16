package concurrency

import (
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
)

// BenchmarkFleet runs 4 processes of 128 callers each on 64 permits, each held for 5 ms. It reports the throughput as a
// part of the ideal (64 permits divided by the measured hold), the largest deviation from a quarter per process, and the
// script calls per permit.
func BenchmarkFleet(b *testing.B) {
	const processes, callers, limit, hold = 4, 128, 64, 5 * time.Millisecond
	const warm, counted = time.Second, 4 * time.Second
	rdb := redistest.Client(b)
	for b.Loop() {
		var answers []<-chan reply
		for range processes {
			p := startProcess(b, rdb, processConfig{Name: "fleet", Limit: limit, IdleTimeout: DefaultIdleTimeout})
			answers = append(answers, p.start(command{Do: "load", Callers: callers, Hold: hold, Warm: warm, For: counted}))
		}
		var total, calls, acquired int64
		var held time.Duration
		var counts []int64
		for _, a := range answers {
			r := <-a
			if r.Err != "" {
				b.Fatal(r.Err)
			}
			counts = append(counts, r.Count)
			total, held = total+r.Count, held+r.Held
			calls, acquired = calls+r.Stats.ScriptCalls, acquired+r.Stats.LeasesGranted
		}
		ideal := float64(limit) * float64(counted) / (float64(held) / float64(total))
		var off float64
		for _, n := range counts {
			off = max(off, abs(float64(n)*processes/float64(total)-1))
		}
		b.ReportMetric(100*float64(total)/ideal, "%ideal")
		b.ReportMetric(100*off, "%off-quarter")
		b.ReportMetric(float64(calls)/float64(acquired), "calls/permit")
		b.ReportMetric(float64(total)/counted.Seconds(), "permits/s")
	}
}

func abs(x float64) float64 { return max(x, -x) }
