package provider

import (
	"net/http"
	"slices"
	"time"

	"github.com/penstock/penstock/caller"
)

// Azure is the profile of Azure OpenAI. An account is a deployment in a region.
//
// A call is charged with its prompt and max_tokens together before it runs, and the charge stays. Azure counts requests
// over one or ten seconds: configure a limit of 60 a minute as 1 a second, or 10 in 10 seconds.
func Azure() caller.Profile {
	return caller.Profile{
		Name:       "azure",
		Authorize:  inHeader("Api-Key"),
		Estimate:   estimateSum,
		Model:      modelInPath("deployments"),
		Judge:      azureDialect.judge,
		Idempotent: idempotentOpenAI(openAIEndings...),
		Usage:      usageOpenAI,
		Calibrated: []caller.Metric{caller.InputTokens, caller.Tokens},
		Quotas:     quotasAzure,
	}
}

var azureDialect = &dialect{
	codes: map[string]meaning{
		"429": throttled,
		"401": revoked,

		"AuthenticationTypeDisabled": revoked, // keys are switched off for this resource
	},
	phrases: []phrase{
		{begins: begins(`the system is currently experiencing high demand|the service is temporarily unable to process`), means: overloaded},
		{begins: begins(`out of call volume quota`), means: throttled},
	},
	wait: func(r *http.Response) time.Duration { return afterReset(quotasAzure(r)) },
}

// quotasAzure reads OpenAI's headers. A remainder of 0 on an admitted answer, and a limit of 0, are noise.
func quotasAzure(r *http.Response) []caller.Quota {
	return slices.DeleteFunc(reported(r, openAIHeaders), func(q caller.Quota) bool {
		return q.Remaining == 0 && (q.Limit == 0 || r.StatusCode < http.StatusBadRequest)
	})
}
