package provider

import (
	"net/http"
	"strings"

	"github.com/penstock/penstock/caller"
)

// Qwen is the profile of Alibaba Cloud's Model Studio (DashScope), in its own form and OpenAI's. An account is the root
// account: all its keys and sub-accounts share the limits of a model.
//
// Limits per minute may be enforced per second, so configure 600 a minute as 10 a second. A third limit is on how fast
// the load grows; it is answered by slowing down.
func Qwen() caller.Profile {
	return caller.Profile{
		Name:      "qwen",
		Authorize: bearer,
		Estimate:  estimateSum,
		Model:     modelInBody,
		Judge:     judgeQwen,
		Idempotent: repeatable(append([]string{
			"/text-generation/generation", "/multimodal-generation/generation", "/text-embedding/text-embedding",
			"/text-rerank/text-rerank",
		}, openAIEndings...)...),
		Usage:      usageOpenAI,
		Calibrated: []caller.Metric{caller.InputTokens, caller.Tokens},
	}
}

// qwenCodes are the codes of both forms. insufficient_quota isn't about money here: it is the limit on tokens.
var qwenCodes = map[string]meaning{
	"Throttling":                 throttled,
	"Throttling.RateQuota":       throttled,
	"Throttling.AllocationQuota": throttled,
	"limit_requests":             throttled,
	"insufficient_quota":         throttled,
	"rate_limit_exceeded":        throttled,

	"Throttling.BurstRate": slowDown,
	"limit_burst_rate":     slowDown,

	"ModelServingError": overloaded,
	"ModelUnavailable":  overloaded,
	"InternalError":     transient,
	"SystemError":       transient,
	"RequestTimeOut":    transient,

	"Arrearage":                    outOfCredit,
	"PrepaidBillOverdue":           outOfCredit,
	"PostpaidBillOverdue":          outOfCredit,
	"CommodityNotPurchased":        outOfCredit,
	"AccessDenied.Unpurchased":     outOfCredit,
	"AllocationQuota.FreeTierOnly": outOfCredit,

	"InvalidApiKey":   revoked,
	"invalid_api_key": revoked,
}

func judgeQwen(r *http.Response, body []byte) caller.Verdict {
	f := readFailure(body)
	v := byCode(r, f, qwenCodes)
	switch {
	case v.Outcome != caller.Throttled:
		return v
	case strings.HasPrefix(f.message, "Request rate increased too quickly"):
		return means(v, slowDown)
	case strings.HasPrefix(f.message, "Free allocated quota exceeded"):
		return means(v, outOfCredit)
	}
	return v
}
