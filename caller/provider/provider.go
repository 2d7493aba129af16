// Package provider says what the requests and answers of well-known APIs mean, as data and small functions. Nothing here
// does I/O or keeps state; every profile is safe for concurrent use.
//
//	request ─► Authorize: where the secret goes
//	        ─► Estimate: what the call will cost, from its body, before it is made
//	        ─► Repeatable: may it be sent twice?
//	answer  ─► Judge: success, or whose fault, and when to come back
//	        ─► Usage: what it really cost        ─► Quotas: what is left of the limits
//
// A provider is judged first by the codes in its error bodies, which are compared whole, and by its message texts only
// where it has no code, and then from their first word on: a message may quote the caller's prompt. What no rule knows is
// judged by its status alone. A [caller.Verdict]'s Reason is a code or a status, never a message:
// messages quote keys.
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

// ByName returns the profile of the provider of that name, in any case. The error for an unknown name says which there
// are.
func ByName(name string) (caller.Profile, error) {
	profile, ok := profiles()[strings.ToLower(name)]
	if !ok {
		return caller.Profile{}, fmt.Errorf("provider %q is unknown: use one of %s", name, strings.Join(Names(), ", "))
	}
	return profile(), nil
}

// Names returns the names that ByName knows, sorted.
func Names() []string { return slices.Sorted(maps.Keys(profiles())) }

func profiles() map[string]func() caller.Profile {
	return map[string]func() caller.Profile{
		"anthropic": Anthropic,
		"azure":     Azure,
		"deepseek":  DeepSeek,
		"gemini":    Gemini,
		"generic":   Generic,
		"github":    GitHub,
		"ietf":      IETF,
		"openai":    OpenAI,
		"qwen":      Qwen,
		"zhipu":     Zhipu,
	}
}

// bearer puts the secret into the Authorization header, in place of what a client library put there.
func bearer(r *http.Request, secret string) {
	r.Header.Set("Authorization", "Bearer "+secret)
}

// inHeader returns a function that puts the secret into a header of its own. An Authorization header would contradict
// it, or name another key.
func inHeader(name string) func(*http.Request, string) {
	return func(r *http.Request, secret string) {
		r.Header.Del("Authorization")
		r.Header.Set(name, secret)
	}
}

// repeatable follows net/http's rule, and adds the POST requests whose paths end in one of the given ways: those that
// compute an answer and leave nothing behind. Others, which create files or jobs, would create them twice.
func repeatable(endings ...string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		if caller.IsIdempotent(r) {
			return true
		}
		return r.Method == http.MethodPost && r.URL != nil && slices.ContainsFunc(endings, func(ending string) bool {
			return strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "/"), ending)
		})
	}
}
