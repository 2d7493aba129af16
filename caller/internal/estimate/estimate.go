// Package estimate learns, for each model, the ratio of the tokens that prompts use to the tokens that they were
// estimated at.
//
// The estimate is a guess from the size of a request's text. The ratio depends on the kind of text and on the model's
// tokenizer, so it is learned from what the provider reports.
package estimate

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/penstock/penstock/caller/internal/bounded"
)

const (
	// MinSamples is the number of samples of a model from which on its ratio is used.
	MinSamples = 16
	// MinRatio and MaxRatio are the bounds of a ratio.
	MinRatio, MaxRatio = 0.25, 4.0

	// recentSamples is the number of samples that an average goes over: each new sample has the weight 1/recentSamples.
	recentSamples = 64.0
	// maxWeight bounds the weight of a large prompt, in prompts of the usual size.
	maxWeight = 4.0
	// maxStep bounds the factor by which a sample differs from the current ratio. A sample that differs more counts as if
	// it differed by maxStep.
	maxStep = 3.0
)

// Ratios are the ratios of the models. The zero Ratios has none. Safe for concurrent use.
type Ratios struct{ models bounded.Map[ratio] }

// ratio is the ratio of one model: the sum of actual tokens over the sum of estimated tokens, where older samples count
// less. A larger prompt has a larger weight, because tokens are what limits count.
type ratio struct {
	bits atomic.Uint64 // of the ratio as a float64; 0: fewer than MinSamples

	mu        sync.Mutex
	samples   float64 // weighted
	size      float64 // logarithm of the usual estimate
	estimated float64 // in usual estimates
	actual    float64 // in usual estimates
	count     int     // up to MinSamples
}

// Of returns the ratio of a model, or 1 if it has fewer than MinSamples samples.
func (s *Ratios) Of(model string) float64 {
	r := s.models.Find(model)
	if r == nil {
		return 1
	}
	return r.load()
}

func (r *ratio) load() float64 {
	if bits := r.bits.Load(); bits != 0 {
		return math.Float64frombits(bits)
	}
	return 1
}

// Add adds a sample: the tokens that a prompt was estimated at, and those that it used. A sample without both is skipped.
func (s *Ratios) Add(model string, estimated, actual int64) {
	if estimated <= 0 || actual <= 0 {
		return
	}
	r := s.models.Get(model)
	if r == nil || !r.mu.TryLock() { // of concurrent samples one is enough
		return
	}
	defer r.mu.Unlock()
	r.add(float64(estimated), float64(actual))
}

func (r *ratio) add(estimated, actual float64) {
	const decay = 1 - 1/recentSamples
	current := 1.0
	if r.samples > 0 {
		current = r.actual / r.estimated
	}
	sample := min(max(actual/estimated, current/maxStep, MinRatio), current*maxStep, MaxRatio)
	r.samples = r.samples*decay + 1
	r.size += (math.Log(estimated) - r.size) / r.samples
	weight := min(math.Exp(math.Log(estimated)-r.size), maxWeight)
	r.estimated = r.estimated*decay + weight
	r.actual = r.actual*decay + weight*sample
	if r.count++; r.count >= MinSamples {
		r.count = MinSamples
		r.bits.Store(math.Float64bits(min(max(r.actual/r.estimated, MinRatio), MaxRatio)))
	}
}

// All returns the ratios of the models that have at least MinSamples samples.
func (s *Ratios) All() map[string]float64 {
	out := map[string]float64{}
	s.models.Each(func(model string, r *ratio) {
		if r.bits.Load() != 0 {
			out[model] = r.load()
		}
	})
	return out
}
