package provider

import (
	"net/http"

	"github.com/penstock/penstock/caller"
)

// Generic is the profile of an API of which nothing is known but HTTP: bearer tokens, status codes, Retry-After, and the
// headers X-RateLimit-Limit, -Remaining and -Reset that many send. The reset is in seconds from now or since 1970, which
// its size tells. A call costs one request.
func Generic() caller.Profile {
	return caller.Profile{
		Name:      "generic",
		Authorize: bearer,
		Estimate:  func(*http.Request, []byte) caller.Cost { return caller.Cost{caller.Requests: 1} },
		Judge:     judgeGeneric,
		Quotas:    quotasGeneric,
	}
}

func quotasGeneric(r *http.Response) []caller.Quota {
	return reported(r, []header{{caller.Requests, "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"}})
}

func judgeGeneric(r *http.Response, body []byte) caller.Verdict {
	return orReset(byCode(r, readFailure(body), nil), quotasGeneric(r))
}

// orReset completes the verdict on an answer without Retry-After: an exhausted limit's reset stands in.
func orReset(v caller.Verdict, quotas []caller.Quota) caller.Verdict {
	if v.RetryAfter == 0 && (v.Outcome == caller.Throttled || v.Outcome == caller.Overloaded) {
		v.RetryAfter = afterReset(quotas)
	}
	return v
}
