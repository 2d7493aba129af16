package provider

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/penstock/penstock/caller"
)

// Azure is the profile of Azure OpenAI. An account is a deployment in a region.
//
// A call is charged with its prompt and max_tokens together before it runs, and keeps to that. Requests are counted over
// one or ten seconds, not a minute: configure a limit of 60 a minute as 1 a second, or 10 in 10 seconds.
func Azure() caller.Profile {
	return caller.Profile{
		Name:       "azure",
		Authorize:  inHeader("Api-Key"),
		Estimate:   estimateSum,
		Model:      modelInPath("deployments"),
		Judge:      judgeAzure,
		Idempotent: repeatable(openAIEndings...),
		Usage:      usageOpenAI,
		Calibrated: []caller.Metric{caller.InputTokens, caller.Tokens},
		Quotas:     quotasAzure,
	}
}

var azureCodes = map[string]meaning{
	"429":                throttled,
	"RateLimitReached":   throttled,
	"too_many_requests":  throttled,
	"insufficient_quota": outOfCredit,

	"401":                        revoked,
	"invalid_api_key":            revoked,
	"AuthenticationTypeDisabled": revoked, // keys are switched off for this resource
}

func judgeAzure(r *http.Response, body []byte) caller.Verdict {
	f := readFailure(body)
	v := byCode(r, f, azureCodes)
	if v.Outcome != caller.Throttled {
		return overruled(v, r)
	}
	if strings.HasPrefix(f.message, "The system is currently experiencing high demand") {
		return means(v, overloaded) // a 429 that isn't about this account's limits
	}
	if v.RetryAfter == 0 {
		v.RetryAfter = cmp.Or(
			statedWait(f.message, "retry after "),
			statedWait(f.message, "try again in "),
			afterReset(quotasAzure(r)),
		)
	}
	return v
}

// quotasAzure reads OpenAI's headers. Nothing left on an answer that was admitted, and a limit of nothing, are noise.
func quotasAzure(r *http.Response) []caller.Quota {
	return slices.DeleteFunc(reported(r, openAIHeaders), func(q caller.Quota) bool {
		return q.Remaining == 0 && (q.Limit == 0 || r.StatusCode < http.StatusBadRequest)
	})
}
