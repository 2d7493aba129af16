package caller

import (
	"maps"
	"math"
	"slices"
)

// calibrate corrects an estimate by the model's ratio. It also returns the prompt's estimate, for which the call's usage
// is a sample; 0: it is none.
func (s *settings) calibrate(model string, cost Cost) (corrected Cost, prompt int64) {
	prompt = cost[InputTokens]
	if len(s.Profile.Calibrated) == 0 || prompt <= 0 {
		return cost, 0
	}
	ratio := s.ratios.Of(model)
	if ratio == 1 {
		return cost, prompt
	}
	excess := int64(math.Ceil((ratio - 1) * float64(min(prompt, maxUnits))))
	corrected = maps.Clone(cost)
	for _, m := range s.Profile.Calibrated {
		if n := cost[m]; n > 0 {
			corrected[m] = s.corrected(m, n, excess, model)
		}
	}
	return corrected, prompt
}

// corrected returns an estimate of n units plus the excess. A metric that the provider doesn't correct itself is never
// charged less than its estimate. An estimate that fits a limit still fits when it is corrected.
func (s *settings) corrected(m Metric, n, excess int64, model string) int64 {
	if excess < 0 && !slices.Contains(s.Profile.Settled, m) || n > maxUnits { // more than maxUnits fits no limit
		return n
	}
	out := max(n+excess, 1)
	for _, l := range s.ruling().limits {
		if usable := l.Usable(); l.Metric == m && n <= usable && l.counts(model) {
			out = min(out, usable)
		}
	}
	return out
}
