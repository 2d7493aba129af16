package provider

import (
	"net/http"
	"time"

	"github.com/penstock/penstock/caller"
)

// Generic is the profile of any HTTP API: bearer tokens, status codes, Retry-After, the headers X-RateLimit-Limit,
// -Remaining and -Reset, and codes that many APIs share. The reset is in seconds from now or since 1970, which its size
// tells. A call costs one request.
func Generic() caller.Profile {
	return caller.Profile{
		Name:      "generic",
		Authorize: bearer,
		Estimate:  estimateOne,
		Judge:     judgeGeneric,
		Quotas:    quotasGeneric,
	}
}

func quotasGeneric(r *http.Response) []caller.Quota {
	return reported(r, []header{rateHeader(caller.Requests, "", 0)})
}

var genericDialect = &dialect{
	codes:   map[string]meaning{"ratelimited": throttled},
	phrases: []phrase{{begins: begins(`conflict occurred while saving`), means: transient}},
	wait:    func(r *http.Response) time.Duration { return afterReset(quotasGeneric(r)) },
	foreign: true,
}

// judgeGeneric also applies Stripe's header, which decides whether a call is tried again.
func judgeGeneric(r *http.Response, body []byte) caller.Verdict {
	v := genericDialect.judge(r, body)
	should := r.Header.Get("Stripe-Should-Retry")
	switch {
	case should == "true" && v.Outcome == caller.ClientError && r.StatusCode == http.StatusConflict:
		return transient.apply(v)
	case should == "false" && v.Outcome == caller.Transient:
		return fault.apply(v)
	}
	return v
}
