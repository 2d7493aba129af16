package provider

import (
	"net/http"
	"strings"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/retry"
)

// header has the names of the headers in which a provider reports one limit.
type header struct {
	metric                  caller.Metric
	limit, remaining, reset string
	period                  time.Duration // of the limit; 0: unknown
}

// reported reads limits from headers. One whose remainder is missing or nonsense is left out.
func reported(r *http.Response, names []header) []caller.Quota {
	var quotas []caller.Quota
	for _, n := range names {
		remaining, ok := count([]byte(strings.TrimSpace(r.Header.Get(n.remaining))))
		if !ok {
			continue
		}
		q := caller.Quota{Metric: n.metric, Remaining: remaining, Period: n.period}
		q.Limit, _ = count([]byte(strings.TrimSpace(r.Header.Get(n.limit))))
		q.Reset = parseReset(r.Header.Get(n.reset), answered(r))
		quotas = append(quotas, q)
	}
	return quotas
}

// parseReset reads the time until a reset, at most retry.MaxRetryAfter: as a duration like 6m0s, in seconds, as a time in
// RFC 3339, as an HTTP date, or in seconds or milliseconds since 1970. It is 0 for anything else.
func parseReset(s string, now time.Time) time.Duration {
	s = strings.TrimSpace(s)
	if d, ok := retry.ParseDelay(s, now); ok {
		return d
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return capped(t.Sub(now))
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0
	}
	return capped(d)
}

func capped(d time.Duration) time.Duration { return min(max(d, 0), retry.MaxRetryAfter) }

// answered is the time at which an answer was sent, by the server's clock if it has a Date: times in its headers are by
// that clock, too.
func answered(r *http.Response) time.Time {
	if date, err := http.ParseTime(r.Header.Get("Date")); err == nil {
		return date
	}
	return time.Now()
}

// nextUnit returns the time until an exhausted limit has room for a unit again, where a reset is the time until the whole limit is
// there and it refills evenly until then, as OpenAI's and Anthropic's do.
func nextUnit(quotas []caller.Quota) time.Duration {
	return longest(quotas, func(q caller.Quota) time.Duration { return q.Reset / time.Duration(max(q.Limit, 1)) })
}

// afterReset is the time until every exhausted limit among the quotas is reset.
func afterReset(quotas []caller.Quota) time.Duration {
	return longest(quotas, func(q caller.Quota) time.Duration { return q.Reset })
}

// longest is the longest wait that an exhausted limit among the quotas asks for.
func longest(quotas []caller.Quota, wait func(caller.Quota) time.Duration) time.Duration {
	var d time.Duration
	for _, q := range quotas {
		if q.Remaining == 0 {
			d = max(d, wait(q))
		}
	}
	return d
}
