package provider

import (
	"net/http"
	"strings"
	"time"

	"github.com/penstock/penstock/caller"
)

// githubPause is the least wait that GitHub asks for where it names none.
const githubPause = time.Minute

// GitHub is the profile of api.github.com. An account is a user or an app's installation: the tokens of one share its
// limits. There may be 100 calls in flight; configure the pool's Concurrency, and 1 is what GitHub advises for changes.
func GitHub() caller.Profile {
	return caller.Profile{
		Name:      "github",
		Authorize: bearer,
		Estimate:  func(*http.Request, []byte) caller.Cost { return caller.Cost{caller.Requests: 1} },
		Judge:     judgeGitHub,
		Quotas:    quotasGitHub,
	}
}

// githubLimited are the beginnings of the messages by which a limit differs from a lack of permission.
var githubLimited = []string{
	"API rate limit exceeded",
	"You have exceeded a secondary rate limit",
	"You have triggered an abuse detection mechanism",
}

// judgeGitHub tells limits, which come as 403 or 429, in the order that GitHub documents: Retry-After, then an exhausted
// limit's reset, then at least a minute.
func judgeGitHub(r *http.Response, body []byte) caller.Verdict {
	v := caller.JudgeStatus(r, nil)
	if r.StatusCode != http.StatusForbidden && r.StatusCode != http.StatusTooManyRequests {
		return v
	}
	quotas := quotasGitHub(r)
	exhausted := len(quotas) > 0 && quotas[0].Remaining == 0
	limited := r.StatusCode == http.StatusTooManyRequests || r.Header.Get("Retry-After") != "" || exhausted
	message := readFailure(body).message
	for _, beginning := range githubLimited {
		limited = limited || strings.HasPrefix(message, beginning)
	}
	if !limited {
		return v
	}
	v = means(v, throttled)
	switch {
	case v.RetryAfter > 0:
	case exhausted && quotas[0].Reset > 0:
		v.RetryAfter = quotas[0].Reset
	default:
		v.RetryAfter = githubPause
	}
	return v
}

// quotasGitHub reads the limit of the resource that the call belongs to. Resources other than the common one (core) are
// metrics of their own: requests.search, requests.graphql.
func quotasGitHub(r *http.Response) []caller.Quota {
	metric := caller.Requests
	if resource := r.Header.Get("X-Ratelimit-Resource"); resource != "" && resource != "core" {
		metric += caller.Metric("." + short(resource))
	}
	return reported(r, []header{{metric, "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"}})
}
