package caller_test

import (
	"testing"
	"time"

	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/internal/redistest"
)

func TestTheFleetUsesTheWholeQuotaAndNoMore(t *testing.T) {
	p := provider(3, []apisim.Limit{{Metric: apisim.Requests, Limit: 200, Per: 4 * time.Second}}, 0)
	p.Failures.Overloaded = 0.02
	p.Latency = apisim.Latency{Min: 5 * time.Millisecond, Max: 60 * time.Millisecond}
	f := start(t, redistest.Client(t), p, 3)
	begin := time.Now()
	f.run(t, 500, 200)
	l := f.sim.Ledger()
	t.Logf("%v, utilization %.3f, throttled %d, twice %d, unexplained %d", time.Since(begin), l.Utilization(apisim.Requests), l.Throttled(), l.ServedTwice, l.UnexplainedTwice)
	for _, c := range f.callers {
		t.Logf("%+v", c.Stats())
	}
}
