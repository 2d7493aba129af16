package provider

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/caller"
)

// IETF is the profile of an API with the header fields of draft-ietf-httpapi-ratelimit-headers: RateLimit-Policy and
// RateLimit. The fields of its earlier drafts are understood too: RateLimit as a dictionary, and RateLimit-Limit,
// -Remaining and -Reset. Retry-After has precedence over them. A call costs one request.
func IETF() caller.Profile {
	return caller.Profile{
		Name:      "ietf",
		Authorize: bearer,
		Estimate:  estimateOne,
		Judge:     ietfDialect.judge,
		Quotas:    quotasIETF,
	}
}

var ietfDialect = &dialect{
	wait:    func(r *http.Response) time.Duration { return afterReset(quotasIETF(r)) },
	foreign: true,
}

func quotasIETF(r *http.Response) []caller.Quota {
	policies := map[string]params{}
	for _, policy := range parseList(r.Header.Values("Ratelimit-Policy")) {
		policies[policy.name] = policy.params
	}
	var quotas []caller.Quota
	for _, limit := range parseList(r.Header.Values("Ratelimit")) {
		remaining, ok := count([]byte(limit.params["r"]))
		if !ok {
			continue
		}
		policy := policies[limit.name]
		q := caller.Quota{Metric: unit(policy["qu"]), Remaining: remaining, Reset: seconds(limit.params["t"]), Period: seconds(policy["w"])}
		q.Limit, _ = count([]byte(policy["q"]))
		quotas = append(quotas, q)
	}
	if quotas == nil {
		return quotasDraft(r)
	}
	return quotas
}

// quotasDraft reads the fields of the drafts 00 to 07.
func quotasDraft(r *http.Response) []caller.Quota {
	h := http.Header{}
	for _, name := range []string{"Limit", "Remaining", "Reset"} {
		value, _, _ := strings.Cut(r.Header.Get("Ratelimit-"+name), ",") // the first of several limits is the closest
		h.Set(name, value)
	}
	for _, member := range parseList(r.Header.Values("Ratelimit")) {
		if member.value != "" {
			h.Set(member.name, member.value)
		}
	}
	remaining, ok := count([]byte(strings.TrimSpace(h.Get("Remaining"))))
	if !ok {
		return nil
	}
	q := caller.Quota{Metric: caller.Requests, Remaining: remaining, Reset: seconds(h.Get("Reset"))}
	q.Limit, _ = count([]byte(strings.TrimSpace(h.Get("Limit"))))
	return []caller.Quota{q}
}

// unit is the metric of a quota unit.
func unit(qu string) caller.Metric {
	if qu == "" || qu == "requests" {
		return caller.Requests
	}
	return caller.Metric(short(qu))
}

// seconds reads a number of seconds, at most a day.
func seconds(s string) time.Duration {
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || !(n > 0) {
		return 0
	}
	const day = 24 * 60 * 60
	return time.Duration(min(n, day) * float64(time.Second))
}
