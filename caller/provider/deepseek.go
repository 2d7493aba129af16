package provider

import "github.com/penstock/penstock/caller"

// DeepSeek is the profile of api.deepseek.com. It limits the calls in flight of an account, not their rate: configure
// Config.Concurrency. A call counts until its answer is complete. Keep-alive lines precede a late answer.
func DeepSeek() caller.Profile {
	return caller.Profile{
		Name:       "deepseek",
		Authorize:  bearer,
		Estimate:   estimateSum,
		Model:      modelInBody,
		Judge:      deepSeekDialect.judge,
		Idempotent: idempotentOpenAI(append([]string{"/messages"}, openAIEndings...)...),
		Usage:      usageOpenAI,
		Settled:    []caller.Metric{caller.Tokens, caller.InputTokens, caller.OutputTokens},
		Calibrated: []caller.Metric{caller.InputTokens, caller.Tokens},
	}
}

// deepSeekDialect has no codes of its own: nearly all bodies say invalid_request_error, and the status tells them apart.
var deepSeekDialect = &dialect{
	phrases: []phrase{{begins: begins(`service is too busy`), means: overloaded}},
}
