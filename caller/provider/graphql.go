package provider

import (
	"cmp"
	"math"
	"net/http"
	"time"

	"github.com/penstock/penstock/caller"
)

// graphQLCodes are the types and codes of GraphQL errors that are about a limit, in the form that plain returns. Others are
// the query's own.
var graphQLCodes = map[string]meaning{
	"ratelimited": throttled, "ratelimit": throttled, "ratelimitexceeded": throttled, "throttled": throttled,
	"toomanyrequests": throttled, "resourcelimitsexceeded": fault, "maxcostexceeded": fault,
}

// graphQL judges the errors of a GraphQL answer: GitHub's type RATE_LIMITED, Shopify's extensions.code THROTTLED.
func (d *dialect) graphQL(r *http.Response, body, errors []byte) (caller.Verdict, bool) {
	for e := range elements(errors) {
		for _, code := range []string{text(at(e, "type")), text(at(e, "extensions", "code")), text(at(e, "extensions", "type"))} {
			m, ok := graphQLCodes[plain(code)]
			if !ok {
				continue
			}
			if m.outcome != caller.ClientError && !complete(body) {
				return pending, false // the wait is the last member
			}
			v := m.apply(caller.Verdict{Reason: short(code)})
			if m.outcome == caller.Throttled {
				wait := cmp.Or(retryAfter(r), restored(body), d.completeWait(r, failure{message: text(at(e, "message"))}, 0))
				v.RetryAfter = wait
			}
			return v, true
		}
	}
	if !complete(errors) {
		return pending, false
	}
	return caller.Verdict{}, false
}

// graphQLBegun reports whether an object begins as GraphQL's answers with errors do.
func graphQLBegun(body []byte) bool {
	for key := range members(body) {
		return string(key) == "errors" || string(key) == "error" || string(key) == "data"
	}
	return false
}

// restored returns the time in which Shopify's bucket refills to the cost of the query.
func restored(body []byte) time.Duration {
	cost := at(body, "extensions", "cost")
	requested, ok := count(at(cost, "requestedQueryCost"))
	available, _ := count(at(cost, "throttleStatus", "currentlyAvailable"))
	rate, _ := count(at(cost, "throttleStatus", "restoreRate"))
	if !ok || rate == 0 || available >= requested {
		return 0
	}
	return cappedSeconds(math.Ceil(float64(requested-available) / float64(rate)))
}

// retryAfter returns the wait in an answer's own header.
func retryAfter(r *http.Response) time.Duration {
	return caller.JudgeStatus(&http.Response{StatusCode: http.StatusTooManyRequests, Header: r.Header}, nil).RetryAfter
}
