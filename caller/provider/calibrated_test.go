package provider

import (
	"slices"
	"strings"
	"testing"

	"github.com/penstock/penstock/caller"
)

// A calibrated metric counts the prompt's tokens one for one, whatever else it counts; one that a provider charges by a
// rule of its own, as OpenAI does, is not calibrated.
func TestCalibrated(t *testing.T) {
	t.Parallel()
	body := func(n int) []byte {
		return []byte(`{"model":"m","max_tokens":500,"messages":[{"role":"user","content":"` + strings.Repeat("four", n) +
			`"}],"contents":[{"parts":[{"text":"` + strings.Repeat("four", n) + `"}]}]}`)
	}
	for _, name := range Names() {
		p, err := ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		small, large := p.Estimate(nil, body(10)), p.Estimate(nil, body(3000))
		for _, m := range []caller.Metric{caller.InputTokens, caller.Tokens, caller.OutputTokens} {
			grows := small[m] > 0 && large[m]-small[m] == large[caller.InputTokens]-small[caller.InputTokens]
			if slices.Contains(p.Calibrated, m) && !grows {
				t.Errorf("%s: %s is calibrated, and doesn't count the prompt one for one: %v, %v", name, m, small, large)
			}
		}
		if (name == "openai" || p.Usage == nil) && len(p.Calibrated) > 0 {
			t.Errorf("%s: nothing can be learned, or is to be, and yet %v are calibrated", name, p.Calibrated)
		}
	}
}
