package provider

import (
	"net/http"
	"time"

	"github.com/penstock/penstock/caller"
)

// Cerebras is the profile of api.cerebras.ai. An account is an organisation, and limits are those of a model. A call is
// charged with its prompt and max_completion_tokens before it runs: set that, since the default is the longest answer.
func Cerebras() caller.Profile {
	p := OpenAI()
	p.Name = "cerebras"
	p.Estimate = estimateSum
	p.Calibrated = []caller.Metric{caller.InputTokens, caller.Tokens}
	p.Judge = cerebrasDialect.judge
	p.Quotas = quotasCerebras
	return p
}

var cerebrasDialect = &dialect{wait: func(r *http.Response) time.Duration { return afterReset(quotasCerebras(r)) }}

func quotasCerebras(r *http.Response) []caller.Quota {
	var headers []header
	for _, m := range []struct {
		metric caller.Metric
		name   string
	}{{caller.Requests, "-Requests"}, {caller.Tokens, "-Tokens"}} {
		headers = append(headers, rateHeader(m.metric, m.name+"-Minute", time.Minute),
			rateHeader(m.metric, m.name+"-Hour", time.Hour), rateHeader(m.metric, m.name+"-Day", day))
	}
	return reported(r, headers)
}
