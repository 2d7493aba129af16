package provider

import (
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
)

func anthropicError(kind, message string) string {
	return `{"type":"error","error":{"type":"` + kind + `","message":"` + message + `"},"request_id":"req_1"}`
}

// Anthropic's error types, and the messages that differ where the type doesn't.
func TestAnthropic_JudgesRecordedAnswers(t *testing.T) {
	const limit = "This request would exceed the rate limit for your organization of 20,000 input tokens per minute."
	judge(t, Anthropic(), []recorded{
		{
			"limit", 429, "retry-after: 12", anthropicError("rate_limit_error", limit),
			verdict(caller.Throttled, caller.ScopeAccount, 12*time.Second, "rate_limit_error"),
		},
		{
			"limit without retry-after", 429, `anthropic-ratelimit-requests-limit: 60
				anthropic-ratelimit-requests-remaining: 0
				anthropic-ratelimit-requests-reset: 2026-11-20T12:01:00Z`, anthropicError("rate_limit_error", limit),
			verdict(caller.Throttled, caller.ScopeAccount, time.Second, "rate_limit_error"),
		},
		{
			"spending cap", 429, "", `{"type":"error","error":{"type":"rate_limit_error","message":"x",` +
				`"details":{"error_code":"enforced_spend_limit_reached"}}}`,
			verdict(caller.OutOfCredit, caller.ScopeAccount, 0, "enforced_spend_limit_reached"),
		},
		{
			"own spending limit", 400, "",
			anthropicError("invalid_request_error", "You have reached your specified API usage limits. You will regain access on 2026-12-01."),
			verdict(caller.OutOfCredit, caller.ScopeAccount, 0, "invalid_request_error"),
		},
		{
			"no credit", 400, "", anthropicError("invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
			verdict(caller.OutOfCredit, caller.ScopeAccount, 0, "invalid_request_error"),
		},
		{
			"a prompt about credit", 400, "", anthropicError("invalid_request_error", "messages.0: 'Your credit balance is too low' is not valid"),
			verdict(caller.ClientError, 0, 0, "invalid_request_error"),
		},
		{"billing", 402, "", anthropicError("billing_error", "x"), verdict(caller.OutOfCredit, caller.ScopeAccount, 0, "billing_error")},
		{"overloaded", 529, "", anthropicError("overloaded_error", "Overloaded"), verdict(caller.Overloaded, caller.ScopeProvider, 0, "overloaded_error")},
		{"internal", 500, "", anthropicError("api_error", "x"), verdict(caller.Transient, caller.ScopeProvider, 0, "api_error")},
		{"bad key", 401, "", anthropicError("authentication_error", "invalid x-api-key"), verdict(caller.KeyRejected, caller.ScopeKey, 0, "authentication_error")},
		{"forbidden", 403, "", anthropicError("permission_error", "x"), verdict(caller.ClientError, 0, 0, "permission_error")},
		{"too large", 413, "", anthropicError("request_too_large", "x"), verdict(caller.ClientError, 0, 0, "request_too_large")},
	})
}

// Input and output are charged apart, and max_tokens isn't charged.
func TestAnthropic_ChargesInputAndOutput(t *testing.T) {
	p := Anthropic()
	const prompt = `{"system":"1234","messages":[{"role":"user","content":[{"type":"text","text":"12345678"}]}],`
	estimate(t, p, prompt+`"max_tokens":500}`,
		caller.Cost{caller.Requests: 1, caller.Tokens: 503, caller.InputTokens: 3, caller.OutputTokens: 500})
	estimate(t, p, prompt+`"max_tokens":64000}`, // which isn't charged, so that a limit below it still lets the call through
		caller.Cost{caller.Requests: 1, caller.Tokens: 1027, caller.InputTokens: 3, caller.OutputTokens: 1024})

	want := caller.Cost{caller.InputTokens: 30, caller.OutputTokens: 40}
	const figures = `{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":5000,"output_tokens":40}`
	usage(t, p, `{"type":"message","content":[],"usage":`+figures+`}`, want)
	usage(t, p, `{"type":"message_start","message":{"usage":`+figures+`}}`, want)
	usage(t, p, `{"type":"message_delta","delta":{},"usage":{"output_tokens":40}}`, caller.Cost{caller.OutputTokens: 40})
	usage(t, p, `{"type":"content_block_delta","delta":{"text":"usage"}}`, nil)

	quotas(t, p, recorded{status: 200, headers: `anthropic-ratelimit-requests-limit: 50
		anthropic-ratelimit-requests-remaining: 49
		anthropic-ratelimit-requests-reset: 2026-11-20T12:00:01Z
		anthropic-ratelimit-input-tokens-limit: 20000
		anthropic-ratelimit-input-tokens-remaining: 19000
		anthropic-ratelimit-input-tokens-reset: 2026-11-20T12:00:03Z
		anthropic-ratelimit-output-tokens-limit: 8000
		anthropic-ratelimit-output-tokens-remaining: 0
		anthropic-ratelimit-output-tokens-reset: 2026-11-20T11:59:00Z`},
		caller.Quota{Metric: caller.Requests, Limit: 50, Remaining: 49, Reset: time.Second},
		caller.Quota{Metric: caller.InputTokens, Limit: 20000, Remaining: 19000, Reset: 3 * time.Second},
		caller.Quota{Metric: caller.OutputTokens, Limit: 8000})
}
