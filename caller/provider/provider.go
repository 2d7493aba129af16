// Package provider has the profiles of well-known APIs: what their requests and answers mean, as data and small functions.
// The functions do no I/O and keep no state. Every profile is safe for concurrent use.
//
//	request ─► Authorize: where the secret goes
//	        ─► Estimate: what the call will cost, from its body, before it is made
//	        ─► Idempotent: may it be sent twice?
//	answer  ─► Judge: success, or whose fault, and when to try again
//	        ─► Usage: what it really cost        ─► Quotas: what is left of the limits
//
// Judge goes by these rules, in this order:
//
//	| rule | example |
//	|---|---|
//	| a request larger than its limit is at fault, whatever its status | "Limit 7000, Used 0, Requested 12903" |
//	| codes in the body, the provider's own first; they are compared whole | insufficient_quota, model_not_found |
//	| the beginning of the message; a later part may quote the prompt | "Your project has been denied access" |
//	| the status | 402, 429, 503, 520 to 530 |
//
// A wait is that of Retry-After, else of the message ("try again in 9m38s"), else of the limits' headers. A limit that names a
// model is that model's. A [caller.Verdict]'s Reason is a code or a status, never a message: messages quote keys.
//
// A status of 2xx is a success only if the body is an answer. Judge reads its beginning: an error object, an error in a
// stream before any output, GraphQL's errors about limits.
//
// Profiles are plain values: take one, replace a function, and use the result.
package provider

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/penstock/penstock/caller"
)

// ByName returns the profile of the provider of that name, in any case. The error for an unknown name lists those that there
// are.
func ByName(name string) (caller.Profile, error) {
	profile, ok := profiles()[strings.ToLower(name)]
	if !ok {
		return caller.Profile{}, fmt.Errorf("provider %q is unknown: use one of %s", name, strings.Join(Names(), ", "))
	}
	return profile(), nil
}

// Names returns the names that ByName accepts, sorted.
func Names() []string { return slices.Sorted(maps.Keys(profiles())) }

func profiles() map[string]func() caller.Profile {
	return map[string]func() caller.Profile{
		"anthropic":  Anthropic,
		"azure":      Azure,
		"cerebras":   Cerebras,
		"cohere":     Cohere,
		"deepseek":   DeepSeek,
		"gemini":     Gemini,
		"generic":    Generic,
		"github":     GitHub,
		"groq":       Groq,
		"ietf":       IETF,
		"minimax":    MiniMax,
		"mistral":    Mistral,
		"moonshot":   Moonshot,
		"openai":     OpenAI,
		"openrouter": OpenRouter,
		"qwen":       Qwen,
		"together":   Together,
		"vertex":     Vertex,
		"xai":        XAI,
		"zhipu":      Zhipu,
	}
}

// bearer puts the secret into the Authorization header, in place of what a client library put there.
func bearer(r *http.Request, secret string) {
	r.Header.Set("Authorization", "Bearer "+secret)
}

// inHeader returns a function that puts the secret into a header of its own. It removes an Authorization header, which
// would name another key.
func inHeader(name string) func(*http.Request, string) {
	return func(r *http.Request, secret string) {
		r.Header.Del("Authorization")
		r.Header.Set(name, secret)
	}
}
