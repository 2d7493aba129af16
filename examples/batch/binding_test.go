package main

import (
	"testing"

	"github.com/penstock/penstock/examples/internal/machine"
)

// The figures name what held the run back.
func TestBatch_NamesItsBottleneck(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		provider, pool string
		requests       int
		workers        string
		most           float64 // utilization
	}{
		"tokens": {
			"limits: [{metric: tokens, limit: 4000, per: 1s}]",
			"limits:\n  - {metric: requests, rate: 2000, period: 1s}\n  - {metric: tokens, rate: 4000, period: 1s}\n", 600, "200", 1,
		},
		"concurrency": {"concurrency: 10", "concurrency: 10\n", 1000, "200", 1},
		"workers":     {"concurrency: 50", "concurrency: 50\n", 200, "5", 0.2},
		"latency":     {"concurrency: 50", "concurrency: 50\n", 40, "200", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProvider(t, 2, "latency: {min: 20ms, max: 80ms}", tc.provider)
			k := newTask(t, p.pool(2, tc.pool), sampleRequests("r", tc.requests))
			watch := machine.Start(t)
			s := k.run(exitAllSucceeded, "-workers", tc.workers)
			if busy := watch.Busy(t); s.Throttled != 0 || s.Binding != name && !busy {
				t.Errorf("%+v", s)
			}
			if s.Utilization > tc.most {
				t.Errorf("utilization %.3f", s.Utilization)
			}
		})
	}
}
