package provider

import (
	"net/http"
	"strings"

	"github.com/penstock/penstock/caller"
)

// anthropicOutput is how much output is booked for a call whose length nobody knows yet.
const anthropicOutput = 1024

// Anthropic is the profile of api.anthropic.com. An account is an organisation, or a workspace with limits of its own.
//
// Requests, input tokens and output tokens have limits of their own, which are buckets that refill continuously: give
// them the algorithm bucket. Input is estimated by the provider when the call comes, and corrected afterwards; reading
// cached prompts is free. Output counts as it is produced, and max_tokens isn't charged: so no more than 1,024 tokens of
// it are booked, or max_tokens where that is less, and the rest is charged when the answer tells its usage. Prompts that are
// read from the cache lower the estimate of those that follow, to a quarter at least.
func Anthropic() caller.Profile {
	return caller.Profile{
		Name:       "anthropic",
		Authorize:  inHeader("X-Api-Key"),
		Estimate:   estimateAnthropic,
		Model:      modelInBody,
		Judge:      judgeAnthropic,
		Idempotent: repeatable("/messages", "/messages/count_tokens", "/complete"),
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

// anthropicCodes are the error types that Anthropic documents, and the code of a reached spending limit.
var anthropicCodes = map[string]meaning{
	"rate_limit_error":     throttled,
	"overloaded_error":     overloaded,
	"api_error":            transient,
	"timeout_error":        transient,
	"conflict_error":       transient,
	"billing_error":        outOfCredit,
	"authentication_error": revoked,

	"enforced_spend_limit_reached": outOfCredit,
}

// anthropicBroke are the beginnings of the messages by which alone an account without money differs from a bad request.
var anthropicBroke = []string{
	"Your credit balance is too low",
	"You have reached your specified API usage limits",
	"You have reached your specified workspace API usage limits",
}

func judgeAnthropic(r *http.Response, body []byte) caller.Verdict {
	f := readFailure(body)
	f.code = text(at(f.details, "error_code"))
	v := byCode(r, f, anthropicCodes)
	switch v.Outcome {
	case caller.ClientError:
		for _, beginning := range anthropicBroke {
			if strings.HasPrefix(f.message, beginning) {
				return means(v, outOfCredit)
			}
		}
	case caller.Throttled:
		if v.RetryAfter == 0 {
			v.RetryAfter = nextSlot(reported(r, anthropicHeaders))
		}
	default:
	}
	return overruled(v, r)
}

var anthropicHeaders = []header{
	anthropicHeader(caller.Requests, "Requests"),
	anthropicHeader(caller.Tokens, "Tokens"),
	anthropicHeader(caller.InputTokens, "Input-Tokens"),
	anthropicHeader(caller.OutputTokens, "Output-Tokens"),
}

func anthropicHeader(metric caller.Metric, name string) header {
	name = "Anthropic-Ratelimit-" + name
	return header{metric, name + "-Limit", name + "-Remaining", name + "-Reset"}
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
