package provider

import (
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
)

// GitHub's limits come as 403 and 429.
func TestGitHub_TellsLimitsFromPermissions(t *testing.T) {
	const left, spent = "x-ratelimit-limit: 5000\nx-ratelimit-remaining: 4999\nx-ratelimit-reset: 1795177200\nx-ratelimit-resource: core",
		"x-ratelimit-limit: 5000\nx-ratelimit-remaining: 0\nx-ratelimit-reset: 1795177200\nx-ratelimit-resource: core"
	message := func(s string) string {
		return `{"message":"` + s + `","documentation_url":"https://docs.github.com/rest"}`
	}
	limited := func(after time.Duration, reason string) caller.Verdict {
		return verdict(caller.Throttled, caller.ScopeAccount, after, reason)
	}
	judge(t, GitHub(), []recorded{
		{"retry-after first", 403, spent + "\nRetry-After: 30", message("You have exceeded a secondary rate limit."), limited(30*time.Second, "403")},
		{"retry-after alone", 403, left + "\nRetry-After: 30", "", limited(30*time.Second, "403")},
		{"a reset alone", 403, spent, "", limited(20*time.Minute, "403")},
		{"then the reset", 403, spent, message("API rate limit exceeded for user ID 1."), limited(20*time.Minute, "403")},
		{"also with 429", 429, spent, "", limited(20*time.Minute, "429")},
		{"else a minute", 403, left, message("You have exceeded a secondary rate limit. Please wait a few minutes."), limited(time.Minute, "403")},
		{"else a minute", 429, left, "", limited(time.Minute, "429")},
		{"no permission", 403, left, message("Resource not accessible by integration"), verdict(caller.ClientError, 0, 0, "403")},
		{"bad token", 401, left, message("Bad credentials"), verdict(caller.KeyRejected, caller.ScopeKey, 0, "401")},
		{"not found", 404, left, message("Not Found"), verdict(caller.ClientError, 0, 0, "404")},
	})
	quotas(t, GitHub(), recorded{status: 200, headers: left},
		caller.Quota{Metric: caller.Requests, Limit: 5000, Remaining: 4999, Reset: 20 * time.Minute})
	quotas(t, GitHub(), recorded{status: 200, headers: "x-ratelimit-limit: 30\nx-ratelimit-remaining: 29\nx-ratelimit-resource: search"},
		caller.Quota{Metric: "requests.search", Limit: 30, Remaining: 29})
}
