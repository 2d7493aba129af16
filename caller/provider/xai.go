package provider

import (
	"net/http"
	"time"

	"github.com/penstock/penstock/caller"
)

// XAI is the profile of api.x.ai. An account is a team. Its errors are text beside a code that is a sentence.
func XAI() caller.Profile {
	p := OpenAI()
	p.Name = "xai"
	p.Estimate = estimateSum
	p.Calibrated = []caller.Metric{caller.InputTokens, caller.Tokens}
	p.Judge = xaiDialect.judge
	return p
}

var xaiDialect = &dialect{
	codes: map[string]meaning{"Some resource has been exhausted": throttled},
	wait:  func(r *http.Response) time.Duration { return nextUnit(quotasOpenAI(r)) },
}
