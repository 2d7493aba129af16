package caller

import (
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// How a model's ratio is learned: from so many answers at least, and mostly from the last ones. A large prompt weighs
// more than a small one, since tokens are what counts, but no more than so many of usual size; and an answer that is
// further off what is known than by a factor counts as if it were off by that.
const (
	enoughAnswers  = 16
	recentAnswers  = 64.0
	heaviestAnswer = 4.0
	farOff         = 3.0
	// leastRatio and mostRatio are the bounds of what an estimate is multiplied by.
	leastRatio, mostRatio = 0.25, 4.0
)

// calibration learns how many tokens the prompts of each model really have for one that Profile.Estimate takes them for.
// That is the one number that is guessed from a request's size: how it depends on the kind of text and on the model's
// tokenizer, nobody but the provider knows. Safe for concurrent use.
type calibration struct{ known[tokenRatio] }

// tokenRatio is what is learned of one model: sums over answers, each counting less with every one that follows.
type tokenRatio struct {
	bits atomic.Uint64 // of the ratio; 0: not enough is known

	mu        sync.Mutex
	answers   float64
	size      float64 // logarithm of the usual estimate
	estimated float64 // in usual estimates
	actual    float64
	count     int // up to enoughAnswers
}

// of returns the model's ratio, 1 while not enough is known of it.
func (c *calibration) of(model string) float64 {
	r := c.find(model)
	if r == nil {
		return 1
	}
	return r.ratio()
}

func (r *tokenRatio) ratio() float64 {
	if bits := r.bits.Load(); bits != 0 {
		return math.Float64frombits(bits)
	}
	return 1
}

// learn takes in what a prompt was estimated at and what it had.
func (c *calibration) learn(model string, estimated, actual int64) {
	if estimated <= 0 || actual <= 0 {
		return
	}
	r := c.get(model)
	if r == nil || !r.mu.TryLock() { // of answers that come together one is enough
		return
	}
	defer r.mu.Unlock()
	r.add(float64(estimated), float64(actual))
}

func (r *tokenRatio) add(estimated, actual float64) {
	const kept = 1 - 1/recentAnswers
	so := 1.0
	if r.answers > 0 {
		so = r.actual / r.estimated
	}
	ratio := min(max(actual/estimated, so/farOff, leastRatio), so*farOff, mostRatio)
	r.answers = r.answers*kept + 1
	r.size += (math.Log(estimated) - r.size) / r.answers
	weight := min(math.Exp(math.Log(estimated)-r.size), heaviestAnswer)
	r.estimated = r.estimated*kept + weight
	r.actual = r.actual*kept + weight*ratio
	if r.count++; r.count >= enoughAnswers {
		r.count = enoughAnswers
		r.bits.Store(math.Float64bits(min(max(r.actual/r.estimated, leastRatio), mostRatio)))
	}
}

// read returns the ratios of all models of which enough is known.
func (c *calibration) read() map[string]float64 {
	out := map[string]float64{}
	c.each(func(model string, r *tokenRatio) {
		if r.bits.Load() != 0 {
			out[model] = r.ratio()
		}
	})
	return out
}

// calibrate corrects an estimate by what is known of the model, and notes in the options what is to be learned from.
func (p *settings) calibrate(o *Options, cost Cost) Cost {
	prompt := cost[InputTokens]
	if len(p.Profile.Calibrated) == 0 || prompt <= 0 {
		return cost
	}
	o.prompt = prompt
	ratio := p.prompts.of(o.Model)
	if ratio == 1 {
		return cost
	}
	off := int64(math.Ceil((ratio - 1) * float64(min(prompt, maxUnits))))
	out := maps.Clone(cost)
	for _, m := range p.Profile.Calibrated {
		if n := cost[m]; n > 0 {
			out[m] = p.corrected(m, n, off, o.Model)
		}
	}
	return out
}

// corrected returns an estimate of n that is off by so much. What the provider doesn't correct itself is never charged
// with less than the estimate, and what fits a limit as it was estimated isn't made larger than that limit.
func (p *settings) corrected(m Metric, n, off int64, model string) int64 {
	if off < 0 && !slices.Contains(p.Profile.Settled, m) || n > maxUnits { // that fits no limit
		return n
	}
	out := max(n+off, 1)
	for _, l := range p.Limits {
		if most := l.Usable(); l.Metric == m && n <= most && l.counts(model) {
			out = min(out, most)
		}
	}
	return out
}
