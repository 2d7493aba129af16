package provider

import "github.com/penstock/penstock/caller"

// Moonshot is the profile of api.moonshot.ai and api.moonshot.cn. An account is an organisation. Limits count calls in flight
// (configure Config.Concurrency), requests and tokens in a minute, and tokens in a day. A call is charged with its prompt
// and max_tokens.
func Moonshot() caller.Profile {
	p := OpenAI()
	p.Name = "moonshot"
	p.Estimate = estimateSum
	p.Calibrated = []caller.Metric{caller.InputTokens, caller.Tokens}
	p.Judge = moonshotDialect.judge
	p.Quotas = nil
	return p
}

var moonshotDialect = &dialect{codes: map[string]meaning{"resource_not_found_error": modelUnavailable}}
