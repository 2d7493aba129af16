package provider

import "github.com/penstock/penstock/caller"

// Cohere is the profile of api.cohere.com. Limits count requests in a minute, of each endpoint, and calls in a month with a
// trial key.
func Cohere() caller.Profile {
	p := OpenAI()
	p.Name = "cohere"
	p.Estimate = estimateSum
	p.Usage = usageSum
	p.Calibrated = []caller.Metric{caller.InputTokens, caller.Tokens}
	p.Judge = cohereDialect.judge
	p.Quotas = nil
	p.Idempotent = idempotent(append([]string{
		"/chat", "/embed", "/classify", "/tokenize", "/detokenize", "/generate", "/summarize",
	}, openAIEndings...)...)
	return p
}

var cohereDialect = &dialect{
	phrases: []phrase{{begins: begins(`invalid api token|no api key supplied`), means: revoked}},
}
