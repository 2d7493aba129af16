package provider

import (
	"net/http"
	"time"

	"github.com/penstock/penstock/caller"
)

// Mistral is the profile of api.mistral.ai. An account is a workspace. Limits count requests in a second, and tokens in a
// minute and a month.
func Mistral() caller.Profile {
	p := OpenAI()
	p.Name = "mistral"
	p.Estimate = estimateSum
	p.Calibrated = []caller.Metric{caller.InputTokens, caller.Tokens}
	p.Judge = mistralDialect.judge
	p.Quotas = quotasMistral
	p.Idempotent = idempotentOpenAI(append([]string{
		"/fim/completions", "/agents/completions", "/ocr", "/classifications",
	}, openAIEndings...)...)
	return p
}

var mistralDialect = &dialect{
	codes: map[string]meaning{
		"1300": throttled,  // the account's limit
		"3505": overloaded, // the capacity of the service tier
		"1500": modelUnavailable,
	},
	wait: func(r *http.Response) time.Duration { return afterReset(quotasMistral(r)) },
}

// quotasMistral reads the headers of both generations.
func quotasMistral(r *http.Response) []caller.Quota {
	return reported(r, []header{
		rateHeader(caller.Requests, "-Req-Minute", time.Minute),
		rateHeader(caller.Tokens, "-Tokens-Minute", time.Minute),
		{caller.Tokens, "X-Ratelimitbysize-Limit-Minute", "X-Ratelimitbysize-Remaining-Minute", "Ratelimitbysize-Reset", time.Minute},
	})
}
