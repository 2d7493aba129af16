package provider

import (
	"net/http"
	"time"

	"github.com/penstock/penstock/caller"
)

// OpenAI is the profile of api.openai.com, and of servers with the same interface. A server that calls a limit
// insufficient_quota, which disables the account here, needs a Judge of its own, as Qwen has.
//
// Limits count requests and tokens, per organisation, project and model. A call is charged before it runs, with
// max(max_tokens × n, characters / 4) tokens; max_completion_tokens and max_output_tokens are other names of max_tokens.
// OpenAI doesn't return what a call didn't use, and counts failed calls.
func OpenAI() caller.Profile {
	return caller.Profile{
		Name:       "openai",
		Authorize:  bearer,
		Estimate:   estimateOpenAI,
		Model:      modelInBody,
		Judge:      judgeOpenAI,
		Idempotent: idempotentOpenAI(openAIEndings...),
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

// openAIDialect has what OpenAI's codes mean beyond the common ones.
var openAIDialect = &dialect{
	wait: func(r *http.Response) time.Duration { return nextUnit(quotasOpenAI(r)) },
}

// statusFlex is Groq's status for an exceeded capacity of its flex tier.
const statusFlex = 498

// judgeOpenAI also retries conflicts: another request holds a lock, and OpenAI's client libraries retry, too.
func judgeOpenAI(r *http.Response, body []byte) caller.Verdict {
	v := openAIDialect.judge(r, body)
	switch {
	case r.StatusCode == http.StatusConflict:
		v = overruled(transient.apply(v), r)
	case r.StatusCode == statusFlex && v.Outcome == caller.ClientError:
		v = overloaded.apply(v)
	}
	return v
}

var openAIHeaders = []header{
	rateHeader(caller.Requests, "-Requests", 0),
	rateHeader(caller.Tokens, "-Tokens", 0),
	rateHeader(caller.Tokens, "-Project-Tokens", 0),
}

// rateHeader has the names that OpenAI and many others use: X-Ratelimit-Limit, -Remaining and -Reset, with an ending.
func rateHeader(metric caller.Metric, ending string, period time.Duration) header {
	return header{metric, "X-Ratelimit-Limit" + ending, "X-Ratelimit-Remaining" + ending, "X-Ratelimit-Reset" + ending, period}
}

func quotasOpenAI(r *http.Response) []caller.Quota { return reported(r, openAIHeaders) }
