package provider

import (
	"net/http"
	"time"

	"github.com/penstock/penstock/caller"
)

// Together is the profile of api.together.ai. Its limits follow the load, and are enforced per second. Headers
// have the current limits of requests and tokens.
func Together() caller.Profile {
	p := OpenAI()
	p.Name = "together"
	p.Estimate = estimateSum
	p.Calibrated = []caller.Metric{caller.InputTokens, caller.Tokens}
	p.Judge = togetherDialect.judge
	p.Quotas = quotasTogether
	return p
}

var togetherDialect = &dialect{wait: func(r *http.Response) time.Duration { return afterReset(quotasTogether(r)) }}

func quotasTogether(r *http.Response) []caller.Quota {
	return reported(r, []header{
		rateHeader(caller.Requests, "", 0),
		{caller.Tokens, "X-Tokenlimit-Limit", "X-Tokenlimit-Remaining", "X-Ratelimit-Reset", 0},
	})
}
