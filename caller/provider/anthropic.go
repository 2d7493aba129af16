package provider

import (
	"cmp"
	"net/http"
	"time"

	"github.com/penstock/penstock/caller"
)

// anthropicOutput is the number of output tokens that are booked for a call before its length is known.
const anthropicOutput = 1024

// Anthropic is the profile of api.anthropic.com. An account is an organisation, or a workspace with limits of its own.
//
// Requests, input tokens and output tokens have limits of their own, which refill continuously: configure the algorithm
// bucket. Anthropic estimates the input of a call at its start and corrects it afterwards. Cached prompts are free to read.
// Output counts as it is produced, and max_tokens isn't charged. So at most 1,024 output tokens are booked, or max_tokens
// if that is less, and the rest is charged by the usage in the answer. Prompts that are read from the cache lower the
// estimate of later prompts, to a quarter at least.
func Anthropic() caller.Profile {
	return caller.Profile{
		Name:       "anthropic",
		Authorize:  inHeader("X-Api-Key"),
		Estimate:   estimateAnthropic,
		Model:      modelInBody,
		Judge:      anthropicDialect.judge,
		Idempotent: idempotent("/messages", "/messages/count_tokens", "/complete"),
		Usage:      usageAnthropic,
		Settled:    []caller.Metric{caller.InputTokens, caller.OutputTokens},
		Calibrated: []caller.Metric{caller.InputTokens, caller.Tokens},
		ErrorBody:  errorAnthropic,
		Quotas:     func(r *http.Response) []caller.Quota { return reported(r, anthropicHeaders) },
	}
}

func estimateAnthropic(_ *http.Request, body []byte) caller.Cost {
	if len(body) == 0 {
		return caller.Cost{caller.Requests: 1}
	}
	s := measure(body)
	output := min(s.allOutput(), anthropicOutput)
	return cost(s.input()+output, s.input(), output)
}

var anthropicDialect = &dialect{
	codes: map[string]meaning{
		"api_error":     transient,
		"timeout_error": transient,

		"enforced_spend_limit_reached": outOfCredit,
	},
	phrases: []phrase{{begins: begins(`model: \S`), means: modelUnavailable, statuses: []int{http.StatusNotFound}}},
	refine:  func(f *failure) { f.code = cmp.Or(text(at(f.details, "error_code")), f.code) },
	wait:    func(r *http.Response) time.Duration { return nextUnit(reported(r, anthropicHeaders)) },
}

var anthropicHeaders = []header{
	anthropicHeader(caller.Requests, "Requests"),
	anthropicHeader(caller.Tokens, "Tokens"),
	anthropicHeader(caller.InputTokens, "Input-Tokens"),
	anthropicHeader(caller.OutputTokens, "Output-Tokens"),
}

func anthropicHeader(metric caller.Metric, name string) header {
	name = "Anthropic-Ratelimit-" + name
	return header{metric, name + "-Limit", name + "-Remaining", name + "-Reset", 0}
}

// usageAnthropic reads the usage of a message, and of the events message_start and message_delta of a stream.
func usageAnthropic(data []byte) caller.Cost {
	usage := at(data, "usage")
	if usage == nil {
		usage = at(data, "message", "usage")
	}
	c := caller.Cost{}
	for key, value := range members(usage) {
		n, ok := count(value)
		if !ok {
			continue
		}
		switch string(key) {
		case "input_tokens", "cache_creation_input_tokens":
			c[caller.InputTokens] = min(c[caller.InputTokens]+n, most)
		case "output_tokens":
			c[caller.OutputTokens] = n
		}
	}
	if len(c) == 0 {
		return nil
	}
	return c
}

// errorAnthropic is an error in Anthropic's shape.
func errorAnthropic(status int, code, message string) []byte {
	kind := "api_error"
	if status == http.StatusTooManyRequests {
		kind = "rate_limit_error"
	}
	return encode(map[string]any{"type": "error", "error": map[string]any{"type": kind, "code": code, "message": message}})
}
