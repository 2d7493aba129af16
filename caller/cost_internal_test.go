package caller

import (
	"fmt"
	"math"
	"reflect"
	"testing"
)

// A ratio changes the prompt's part of an estimate only; it lowers only what the provider corrects itself; and what fits
// a limit still fits.
func TestCalibrate_ChangesThePromptsPart(t *testing.T) {
	t.Parallel()
	all := []Metric{InputTokens, Tokens}
	cost := Cost{Requests: 1, InputTokens: 100, OutputTokens: 1000, Tokens: 1100}
	for name, test := range map[string]struct {
		ratio               float64
		calibrated, settled []Metric
		limits              []Limit
		cost, want          Cost
	}{
		"nothing":          {2, nil, all, nil, cost, cost},
		"up":               {2, all, nil, nil, cost, Cost{Requests: 1, InputTokens: 200, OutputTokens: 1000, Tokens: 1200}},
		"not down":         {0.5, all, nil, nil, cost, cost},
		"down":             {0.5, all, all, nil, cost, Cost{Requests: 1, InputTokens: 50, OutputTokens: 1000, Tokens: 1050}},
		"down in part":     {0.5, all, []Metric{InputTokens}, nil, cost, Cost{Requests: 1, InputTokens: 50, OutputTokens: 1000, Tokens: 1100}},
		"to the limit":     {4, all, all, []Limit{{Metric: Tokens, Rate: 1150}}, cost, Cost{Requests: 1, InputTokens: 400, OutputTokens: 1000, Tokens: 1150}},
		"beyond the limit": {2, all, all, []Limit{{Metric: Tokens, Rate: 1000}}, cost, Cost{Requests: 1, InputTokens: 200, OutputTokens: 1000, Tokens: 1200}},
		"other models' limit": {2, all, all, []Limit{{Metric: Tokens, Rate: 1150, Models: []string{"x"}}}, cost,
			Cost{Requests: 1, InputTokens: 200, OutputTokens: 1000, Tokens: 1200}},
		"no prompt": {2, all, all, nil, Cost{Tokens: 5}, Cost{Tokens: 5}},
		"hostile": {4, all, all, nil, Cost{InputTokens: math.MaxInt64, Tokens: math.MaxInt64},
			Cost{InputTokens: math.MaxInt64, Tokens: math.MaxInt64}},
	} {
		p := &settings{Config: Config{Limits: test.limits, Profile: Profile{Calibrated: test.calibrated, Settled: test.settled}}}
		p.rules.Store(&rules{limits: test.limits})
		for range 500 {
			p.ratios.Add("m", 1000, int64(1000*test.ratio))
		}
		before := fmt.Sprint(test.cost)
		if got, _ := p.calibrate("m", test.cost); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
		if fmt.Sprint(test.cost) != before {
			t.Errorf("%s: got the given estimate changed to %v, want it as it was", name, test.cost)
		}
	}
}
