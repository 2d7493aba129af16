package provider

import (
	"net/http"

	"github.com/penstock/penstock/caller"
)

// DeepSeek is the profile of api.deepseek.com. It limits the calls in flight of an account, not their rate: configure
// the pool's Concurrency. A call counts until its answer is complete, during which keep-alive lines may come.
func DeepSeek() caller.Profile {
	return caller.Profile{
		Name:       "deepseek",
		Authorize:  bearer,
		Estimate:   estimateSum,
		Model:      modelInBody,
		Judge:      judgeDeepSeek,
		Idempotent: repeatable(append([]string{"/messages"}, openAIEndings...)...),
		Usage:      usageOpenAI,
		Settled:    []caller.Metric{caller.Tokens, caller.InputTokens, caller.OutputTokens},
		Calibrated: []caller.Metric{caller.InputTokens, caller.Tokens},
	}
}

// judgeDeepSeek goes by the status: 402 is an empty account, 429 too many calls in flight, 503 an overloaded provider.
// The codes in the bodies only say invalid_request_error.
func judgeDeepSeek(r *http.Response, body []byte) caller.Verdict {
	return byCode(r, readFailure(body), nil)
}
