package provider

import (
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
)

// Azure's answers, estimates and headers.
func TestAzure_ReadsRecordedAnswers(t *testing.T) {
	p := Azure()
	limited := verdict(caller.Throttled, caller.ScopeAccount, 7*time.Second, "429")
	const body = `{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation have exceeded token ` +
		`rate limit of your current pricing tier. Please retry after 7 seconds."}}`
	judge(t, p, []recorded{
		{"wait in ms", 429, "retry-after-ms: 7000\nRetry-After: 8", body, limited},
		{"wait in the text", 429, "", body, limited},
		{
			"wait in the reset", 429, "x-ratelimit-limit-tokens: 10\nx-ratelimit-remaining-tokens: 0\nx-ratelimit-reset-tokens: 7",
			`{"error":{"code":"429","message":"Too many"}}`, limited,
		},
		{
			"peak load", 429, "", `{"error":{"code":"429","message":"The system is currently experiencing high demand and cannot process it"}}`,
			verdict(caller.Overloaded, caller.ScopeProvider, 0, "429"),
		},
		{
			"bad key", 401, "", `{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong endpoint."}}`,
			verdict(caller.KeyRejected, caller.ScopeKey, 0, "401"),
		},
		{
			"keys switched off", 403, "", `{"error":{"code":"AuthenticationTypeDisabled","message":"Key based authentication is disabled."}}`,
			verdict(caller.KeyRejected, caller.ScopeKey, 0, "AuthenticationTypeDisabled"),
		},
		{
			"filtered", 400, "", `{"error":{"code":"content_filter","message":"x","innererror":{"code":"ResponsibleAIPolicyViolation"}}}`,
			verdict(caller.ClientError, 0, 0, "content_filter"),
		},
		{"no deployment", 404, "", `{"error":{"code":"DeploymentNotFound","message":"x"}}`, unavailable("DeploymentNotFound")},
	})
	estimate(t, p, `{"messages":[{"role":"user","content":"12345678"}],"max_tokens":100,"n":2}`,
		caller.Cost{caller.Requests: 1, caller.Tokens: 202, caller.InputTokens: 2, caller.OutputTokens: 200})
	estimate(t, p, `{"messages":[{"role":"user","content":"请翻译 1234"}]}`,
		caller.Cost{caller.Requests: 1, caller.Tokens: 5, caller.InputTokens: 5})
	quotas(t, p, recorded{status: 429, headers: "x-ratelimit-limit-tokens: 0\nx-ratelimit-remaining-tokens: 0"})
	quotas(t, p, recorded{status: 200, headers: `x-ratelimit-limit-requests: -1
		x-ratelimit-remaining-requests: 0
		x-ratelimit-limit-tokens: 1000
		x-ratelimit-remaining-tokens: 900
		x-ratelimit-reset-tokens: 58`},
		caller.Quota{Metric: caller.Tokens, Limit: 1000, Remaining: 900, Reset: 58 * time.Second})
}
