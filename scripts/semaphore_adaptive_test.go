package scripts

import (
	"testing"
	"time"
)

// provider is a server with so many workers: beyond them, calls queue up; beyond its queue, it refuses.
type provider struct {
	workers, queue int64
	latency        time.Duration
}

// window returns what a window's calls meet while inFlight of them are under way at any time.
func (p *provider) window(a *SemaphoreAdaptive, inFlight int64) {
	took := max(p.latency, time.Duration(float64(p.latency)*float64(inFlight)/float64(p.workers)))
	a.Dropped = max(0, inFlight-p.workers-p.queue)
	a.OK = int64(float64(min(inFlight, p.workers)) * float64(a.Every) / float64(p.latency))
	a.Total = time.Duration(a.OK) * took
}

// settle runs the model against the provider and returns the mean limit of the last half.
func settle(a *SemaphoreAdaptive, model *adaptiveModel, p *provider, windows int, most int64) float64 {
	var sum float64
	now := int64(semStart)
	for i := range windows {
		now += a.Every.Microseconds()
		inFlight := int64(model.limit)
		p.window(a, inFlight)
		model.adapt(a, inFlight, most, now)
		if i >= windows/2 {
			sum += model.limit
		}
	}
	return sum / float64(windows-windows/2)
}

func adaptiveDefaults(gradient bool) *SemaphoreAdaptive {
	return &SemaphoreAdaptive{
		Gradient: gradient, Min: 1, Initial: 20, Backoff: 0.9, Every: 250 * time.Millisecond, Tolerance: 1.5,
		Smoothing: 0.2, Queue: 4,
	}
}

// The limit finds the provider's capacity from below and from above, and follows it when it changes.
func TestAdaptive_FindsTheCapacity(t *testing.T) {
	for _, gradient := range []bool{false, true} {
		a := adaptiveDefaults(gradient)
		model := &adaptiveModel{limit: float64(a.Initial)}
		for _, workers := range []int64{100, 30, 200} {
			p := &provider{workers: workers, queue: workers / 5, latency: 100 * time.Millisecond}
			got := settle(a, model, p, 2000, 1000)
			if got < 0.85*float64(workers) || got > 1.3*float64(workers) {
				t.Errorf("gradient %v: the limit is %.0f on average, with %d workers", gradient, got, workers)
			}
		}
	}
}

// A provider that never refuses and only grows slower: the gradient doesn't take the overload for normal, however long
// it lasts.
func TestAdaptive_KeepsItsBaselineInALongOverload(t *testing.T) {
	a := adaptiveDefaults(true)
	model := &adaptiveModel{limit: float64(a.Initial)}
	p := &provider{workers: 50, queue: 1 << 40, latency: 100 * time.Millisecond}
	if got := settle(a, model, p, 20_000, 100_000); got > 4*50 {
		t.Errorf("the limit is %.0f on average, with 50 workers", got)
	}
}

// A process that doesn't use the limit doesn't raise it, and a limit keeps its bounds.
func TestAdaptive_KeepsItsBounds(t *testing.T) {
	for _, gradient := range []bool{false, true} {
		a := adaptiveDefaults(gradient)
		a.OK, a.Total = 100, time.Second
		model := &adaptiveModel{limit: 20}
		now := int64(semStart)
		for range 100 {
			now += a.Every.Microseconds()
			model.adapt(a, 9, 100, now)
		}
		if model.limit != 20 {
			t.Errorf("gradient %v: unused, and it went from 20 to %v", gradient, model.limit)
		}
		for range 1000 {
			now += a.Every.Microseconds()
			model.adapt(a, int64(model.limit), 100, now)
		}
		if model.limit != 100 {
			t.Errorf("gradient %v: the limit is %v, want the most, 100", gradient, model.limit)
		}
		a.Dropped, a.Min = 1, 3
		for range 1000 {
			now += a.Every.Microseconds()
			model.adapt(a, int64(model.limit), 100, now)
		}
		if model.limit != 3 {
			t.Errorf("gradient %v: the limit is %v, want the least, 3", gradient, model.limit)
		}
	}
}
