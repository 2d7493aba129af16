package provider

import (
	"net/http"
	"strings"
	"time"

	"github.com/penstock/penstock/caller"
)

// gitHubPause is the wait that GitHub documents for a limit without one.
const gitHubPause = time.Minute

// GitHub is the profile of api.github.com. An account is a user or an app's installation: the tokens of one share its
// limits. There may be 100 calls in flight: configure Config.Concurrency; GitHub advises 1 for changes.
//
// Search, code search and GraphQL have limits apart from all other calls. Each is a metric of its own (requests.search,
// requests.code_search, requests.graphql), and a model of its own for cooldowns.
func GitHub() caller.Profile {
	return caller.Profile{
		Name:      "github",
		Authorize: bearer,
		Estimate:  estimateGitHub,
		Model:     func(r *http.Request, _ []byte) string { return resource(r) },
		Judge:     judgeGitHub,
		Quotas:    quotasGitHub,
	}
}

// resource returns the GitHub resource that a request's path belongs to, empty for the common one.
func resource(r *http.Request) string {
	if r == nil || r.URL == nil {
		return ""
	}
	path := strings.TrimPrefix(strings.TrimSuffix(r.URL.Path, "/"), "/api/v3") // as GitHub Enterprise has it
	switch {
	case path == "/graphql" || path == "/api/graphql":
		return "graphql"
	case path == "/search/code":
		return "code_search"
	case strings.HasPrefix(path, "/search/"):
		return "search"
	}
	return ""
}

// estimateGitHub charges a request to the limit of its resource alone.
func estimateGitHub(r *http.Request, _ []byte) caller.Cost {
	if name := resource(r); name != "" {
		return caller.Cost{caller.Requests: 0, caller.Requests + "." + caller.Metric(name): 1}
	}
	return caller.Cost{caller.Requests: 1}
}

var gitHubDialect = &dialect{foreign: true}

// gitHubLimited are the beginnings of the messages by which a limit differs from a lack of permission.
var gitHubLimited = begins(
	`api rate limit (?:already )?exceeded`, `you have exceeded a secondary rate limit`, `you have triggered an abuse detection mechanism`,
)

// judgeGitHub recognises limits, which are a 403, a 429, or a GraphQL error in a 200. Their wait, in the order that GitHub
// documents, is Retry-After, then an exhausted limit's reset, then a minute.
func judgeGitHub(r *http.Response, body []byte) caller.Verdict {
	v := gitHubDialect.judge(r, body)
	quotas := quotasGitHub(r)
	exhausted := len(quotas) > 0 && quotas[0].Remaining == 0
	if r.StatusCode == http.StatusForbidden || r.StatusCode == http.StatusTooManyRequests {
		limited := r.StatusCode == http.StatusTooManyRequests || r.Header.Get("Retry-After") != "" || exhausted ||
			gitHubLimited.MatchString(readFailure(body).message)
		if !limited {
			return v
		}
		wait := byStatus(r).RetryAfter
		v = throttled.apply(v)
		v.RetryAfter = wait
	}
	if v.Outcome != caller.Throttled {
		return v
	}
	v.ModelOnly = exhausted && quotas[0].Metric != caller.Requests
	switch {
	case v.RetryAfter > 0:
	case exhausted && quotas[0].Reset > 0:
		v.RetryAfter = quotas[0].Reset
	default:
		v.RetryAfter = gitHubPause
	}
	return v
}

// quotasGitHub reads the limit of the resource that the call belongs to. Resources other than the common one (core) are
// metrics of their own.
func quotasGitHub(r *http.Response) []caller.Quota {
	metric := caller.Requests
	if resource := r.Header.Get("X-Ratelimit-Resource"); resource != "" && resource != "core" {
		metric += caller.Metric("." + short(resource))
	}
	return reported(r, []header{rateHeader(metric, "", 0)})
}
