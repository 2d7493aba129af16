package provider

import (
	"net/http"

	"github.com/penstock/penstock/caller"
)

// usageNames are the members of a usage object, and the metric that each counts.
var usageNames = map[string]caller.Metric{
	"total_tokens":  caller.Tokens,
	"prompt_tokens": caller.InputTokens, "input_tokens": caller.InputTokens,
	"completion_tokens": caller.OutputTokens, "output_tokens": caller.OutputTokens,
}

// usagePaths are the places of a usage object: in an answer, in an event of OpenAI's responses, of Groq's stream, and of
// Cohere's answers and stream.
var usagePaths = [][]string{
	{"usage"}, {"response", "usage"}, {"x_groq", "usage"}, {"usage", "tokens"}, {"meta", "tokens"}, {"meta", "billed_units"},
	{"delta", "usage", "tokens"}, {"response", "meta", "tokens"},
}

// usageOpenAI reads the usage of completions, embeddings, reranking and responses, and of the events of their streams. Moonshot
// puts it into the last choice of a stream.
func usageOpenAI(data []byte) caller.Cost {
	for _, path := range usagePaths {
		if cost := readUsage(at(data, path...)); cost != nil {
			return cost
		}
	}
	for choice := range elements(at(data, "choices")) {
		if cost := readUsage(at(choice, "usage")); cost != nil {
			return cost
		}
	}
	return nil
}

func readUsage(usage []byte) caller.Cost {
	var cost caller.Cost
	for key, value := range members(usage) {
		metric, ok := usageNames[string(key)]
		n, isNumber := count(value)
		if !ok || !isNumber {
			continue
		}
		if cost == nil {
			cost = caller.Cost{}
		}
		cost[metric] = n
	}
	return cost
}

// usageSum is usageOpenAI with Tokens as the sum of both kinds, where the answer has no total.
func usageSum(data []byte) caller.Cost {
	cost := usageOpenAI(data)
	in, hasIn := cost[caller.InputTokens]
	out, hasOut := cost[caller.OutputTokens]
	if _, ok := cost[caller.Tokens]; !ok && hasIn && hasOut {
		cost[caller.Tokens] = min(in+out, most)
	}
	return cost
}

// usageGemini reads the usage of an answer, of one event of a stream, or of a stream in the form of a list. Each event has
// the figures so far. The OpenAI-compatible endpoint has OpenAI's usage.
func usageGemini(data []byte) caller.Cost {
	for element := range elements(data) {
		data = element // the last one counts
	}
	c := caller.Cost{}
	for key, value := range members(at(data, "usageMetadata")) {
		n, ok := count(value)
		if !ok {
			continue
		}
		switch string(key) {
		case "promptTokenCount":
			c[caller.InputTokens], c[caller.Tokens] = n, n
		case "candidatesTokenCount", "thoughtsTokenCount":
			c[caller.OutputTokens] = min(c[caller.OutputTokens]+n, most)
		}
	}
	if len(c) == 0 {
		return usageOpenAI(data)
	}
	return c
}

// estimateOne charges one request.
func estimateOne(*http.Request, []byte) caller.Cost { return caller.Cost{caller.Requests: 1} }
