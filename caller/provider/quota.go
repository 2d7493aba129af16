package provider

import (
	"net/http"
	"strings"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/retry"
)

// header says under which names a provider reports one limit.
type header struct {
	metric                  caller.Metric
	limit, remaining, reset string
}

// reported reads limits from headers. One whose remainder is missing or nonsense is left out.
func reported(r *http.Response, names []header) []caller.Quota {
	var quotas []caller.Quota
	for _, n := range names {
		remaining, ok := count([]byte(strings.TrimSpace(r.Header.Get(n.remaining))))
		if !ok {
			continue
		}
		q := caller.Quota{Metric: n.metric, Remaining: remaining}
		q.Limit, _ = count([]byte(strings.TrimSpace(r.Header.Get(n.limit))))
		q.Reset = parseReset(r.Header.Get(n.reset), answered(r))
		quotas = append(quotas, q)
	}
	return quotas
}

// parseReset reads the time until a reset, at most retry.MaxRetryAfter: as a duration like 6m0s, in seconds, or as a time
// in RFC 3339, as an HTTP date, or in seconds or milliseconds since 1970.
// It is 0 for anything else.
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

// answered is when an answer was sent, by the server's own clock if it says so: times in its headers are by that, too.
func answered(r *http.Response) time.Time {
	if date, err := http.ParseTime(r.Header.Get("Date")); err == nil {
		return date
	}
	return time.Now()
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

// statedWait reads the wait that a message names behind the given words, in lower case: a number of seconds, or a duration like 1m2.5s.
func statedWait(message, words string) time.Duration {
	_, rest, ok := strings.Cut(strings.ToLower(message), words)
	if !ok {
		return 0
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return !strings.ContainsRune("0123456789.hmsµu", r) })
	if end >= 0 {
		rest = rest[:end]
	}
	return parseReset(strings.TrimRight(rest, "."), time.Now())
}
