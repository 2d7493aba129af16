package provider

import "github.com/penstock/penstock/caller"

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
		Judge:     qwenDialect.judge,
		Idempotent: idempotentOpenAI(append([]string{
			"/text-generation/generation", "/multimodal-generation/generation", "/text-embedding/text-embedding",
			"/text-rerank/text-rerank",
		}, openAIEndings...)...),
		Usage:      usageOpenAI,
		Calibrated: []caller.Metric{caller.InputTokens, caller.Tokens},
	}
}

// qwenCodes are the codes of both forms. insufficient_quota is the limit on tokens here. Limits are those of a model.
var qwenCodes = map[string]meaning{
	"Throttling":                 throttledModel,
	"Throttling.RateQuota":       throttledModel,
	"Throttling.AllocationQuota": throttledModel,
	"limit_requests":             throttledModel,
	"insufficient_quota":         throttledModel,
	"rate_limit_exceeded":        throttledModel,

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

	"InvalidApiKey": revoked,

	"Model.AccessDenied": modelUnavailable,
	"ModelNotFound":      modelUnavailable,
}

var qwenDialect = &dialect{
	codes:   qwenCodes,
	phrases: []phrase{{begins: begins(`free allocated quota exceeded`), means: outOfCredit}},
}
