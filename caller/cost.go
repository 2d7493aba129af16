package caller

import (
	"maps"
	"math"
	"slices"

	"github.com/penstock/penstock/caller/internal/estimate"
)

// calibration holds the ratios by which the prompt's part of estimates is corrected, by model.
type calibration struct{ ratios estimate.Ratios }

func (c *calibration) of(model string) float64 { return c.ratios.Of(model) }

func (c *calibration) learn(model string, estimated, actual int64) {
	c.ratios.Add(model, estimated, actual)
}

func (c *calibration) read() map[string]float64 { return c.ratios.All() }

// calibrate corrects an estimate by the model's ratio. It keeps the prompt's estimate in the options, so that the call's
// usage can become a sample.
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
	excess := int64(math.Ceil((ratio - 1) * float64(min(prompt, maxUnits))))
	out := maps.Clone(cost)
	for _, m := range p.Profile.Calibrated {
		if n := cost[m]; n > 0 {
			out[m] = p.corrected(m, n, excess, o.Model)
		}
	}
	return out
}

// corrected returns an estimate of n units plus the excess. A metric that the provider doesn't correct itself is never
// charged less than its estimate. An estimate that fits a limit still fits when it is corrected.
func (p *settings) corrected(m Metric, n, excess int64, model string) int64 {
	if excess < 0 && !slices.Contains(p.Profile.Settled, m) || n > maxUnits { // more than maxUnits fits no limit
		return n
	}
	out := max(n+excess, 1)
	for _, l := range p.Limits {
		if usable := l.Usable(); l.Metric == m && n <= usable && l.counts(model) {
			out = min(out, usable)
		}
	}
	return out
}
