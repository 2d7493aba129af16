package provider

import (
	"slices"
	"strings"
	"testing"

	"github.com/penstock/penstock/caller"
)

// A calibrated metric counts the prompt's tokens one for one. A metric that a provider charges by a rule of its own, as
// OpenAI does, is not calibrated.
func TestCalibrated_CountsThePromptOneForOne(t *testing.T) {
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
				t.Errorf("%s: got %s calibrated, with costs %[3]v and %[4]v, want only metrics that grow with the prompt", name, m, small, large)
			}
		}
		if (name == "openai" || p.Usage == nil) && len(p.Calibrated) > 0 {
			t.Errorf("%s: got %v calibrated, want none without usage", name, p.Calibrated)
		}
	}
}
