package provider

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/penstock/penstock/caller"
)

// OpenAI is the profile of api.openai.com, and of the many servers that speak its language. One of these that calls a
// limit insufficient_quota, which would disable the account here, needs a Judge of its own, as Qwen has.
//
// Limits count requests and tokens, per organisation and project. A call is charged before it runs: with
// max(max_tokens × n, characters / 4) tokens, where max_completion_tokens and max_output_tokens are max_tokens' other
// names. What it didn't use isn't given back, and failed calls count.
func OpenAI() caller.Profile {
	return caller.Profile{
		Name:       "openai",
		Authorize:  bearer,
		Estimate:   estimateOpenAI,
		Model:      modelInBody,
		Judge:      judgeOpenAI,
		Idempotent: repeatable(openAIEndings...),
		Usage:      usageOpenAI,
		Quotas:     quotasOpenAI,
	}
}

// openAIEndings are the paths that compute an answer from the request alone.
var openAIEndings = []string{
	"/chat/completions", "/completions", "/responses", "/embeddings", "/moderations", "/rerank",
	"/images/generations", "/images/edits", "/images/variations",
	"/audio/speech", "/audio/transcriptions", "/audio/translations",
}

// estimateOpenAI follows OpenAI's rule for what a call is charged.
func estimateOpenAI(_ *http.Request, body []byte) caller.Cost {
	if len(body) == 0 {
		return caller.Cost{caller.Requests: 1}
	}
	s := measure(body)
	return cost(max(s.allOutput(), (s.chars+3)/4+s.files*fileTokens), s.input(), s.allOutput())
}

// openAICodes are the codes and types that OpenAI documents, and what they mean.
var openAICodes = map[string]meaning{
	"rate_limit_exceeded": throttled,
	"slow_down":           slowDown,

	"server_is_overloaded": overloaded,
	"engine_overloaded":    overloaded,
	"overloaded":           overloaded,

	"insufficient_quota":                outOfCredit,
	"credit_balance_exhausted":          outOfCredit,
	"organization_spend_limit_exceeded": outOfCredit,
	"project_spend_limit_exceeded":      outOfCredit,
	"organization_usage_limit_exceeded": outOfCredit,
	"billing_hard_limit_reached":        outOfCredit,
	"billing_not_active":                outOfCredit,

	"account_deactivated": closed,
	"access_terminated":   closed,
	"invalid_api_key":     revoked,
}

func judgeOpenAI(r *http.Response, body []byte) caller.Verdict {
	f := readFailure(body)
	v := byCode(r, f, openAICodes)
	switch {
	case v.Outcome == caller.Success:
		return v
	case strings.HasSuffix(f.code, "_spend_limit_exceeded"):
		return means(v, outOfCredit)
	case v.Outcome == caller.Throttled && strings.HasPrefix(f.message, "Request too large"):
		return means(v, fault) // it costs more than the limit in a minute, and always will
	case r.StatusCode == http.StatusConflict:
		v = means(v, transient) // another request holds a lock: the client libraries try again, too
	}
	if v.Outcome == caller.Throttled && v.RetryAfter == 0 {
		v.RetryAfter = cmp.Or(statedWait(f.message, "try again in "), nextSlot(quotasOpenAI(r)))
	}
	return overruled(v, r)
}

// nextSlot is the time until an exhausted limit has room for a unit again. OpenAI's resets tell when the whole limit will
// be there, and it refills evenly until then.
func nextSlot(quotas []caller.Quota) time.Duration {
	return longest(quotas, func(q caller.Quota) time.Duration { return q.Reset / time.Duration(max(q.Limit, 1)) })
}

var openAIHeaders = []header{
	{caller.Requests, "X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"},
	{caller.Tokens, "X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"},
	{
		caller.Tokens,
		"X-Ratelimit-Limit-Project-Tokens", "X-Ratelimit-Remaining-Project-Tokens", "X-Ratelimit-Reset-Project-Tokens",
	},
}

func quotasOpenAI(r *http.Response) []caller.Quota { return reported(r, openAIHeaders) }

// usageOpenAI reads the usage of chat completions, completions and embeddings; of responses; and of the last event of
// either's stream.
func usageOpenAI(data []byte) caller.Cost {
	usage := at(data, "usage")
	if usage == nil {
		usage = at(data, "response", "usage")
	}
	cost := caller.Cost{}
	for key, value := range members(usage) {
		n, ok := count(value)
		if !ok {
			continue
		}
		switch string(key) {
		case "total_tokens":
			cost[caller.Tokens] = n
		case "prompt_tokens", "input_tokens":
			cost[caller.InputTokens] = n
		case "completion_tokens", "output_tokens":
			cost[caller.OutputTokens] = n
		}
	}
	if len(cost) == 0 {
		return nil
	}
	return cost
}
