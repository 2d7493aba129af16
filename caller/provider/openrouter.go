package provider

import (
	"net/http"
	"time"

	"github.com/penstock/penstock/caller"
)

// OpenRouter is the profile of openrouter.ai. Its codes are HTTP statuses, also in answers of status 200. A limit of the
// provider behind it applies to the model, for all accounts.
func OpenRouter() caller.Profile {
	p := OpenAI()
	p.Name = "openrouter"
	p.Estimate = estimateSum
	p.Calibrated = []caller.Metric{caller.InputTokens, caller.Tokens}
	p.Judge = judgeOpenRouter
	p.Quotas = quotasGeneric
	return p
}

var openRouterDialect = &dialect{wait: func(r *http.Response) time.Duration { return afterReset(quotasGeneric(r)) }}

func judgeOpenRouter(r *http.Response, body []byte) caller.Verdict {
	v := openRouterDialect.judge(r, body)
	if v.Outcome == caller.Throttled && !nothing(at(readFailure(body).metadata, "provider_name")) {
		return overloaded.apply(v)
	}
	return v
}
