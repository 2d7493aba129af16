package config

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/caller"
)

const (
	maxUnits  = 1 << 50 // as in package caller
	maxPeriod = 366 * day
	day       = 24 * time.Hour
)

// limitAt is a limit and where it stands.
type limitAt struct {
	caller.Limit

	node ast.Node
	path string
}

func (r *reader) limits(dst *[]limitAt) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		seen := make(map[string]bool)
		r.sequence(n, path, func(n ast.Node, path string) {
			l := r.limit(n, path)
			rule := fmt.Sprint(l.Metric, l.Per, l.Scope, l.Models)
			if l.Metric != "" && seen[rule] {
				r.problemf(n, path, "another limit counts the same metric over the same period; keep the lower one")
			}
			seen[rule] = true
			*dst = append(*dst, limitAt{l, n, path})
		})
	}
}

func (r *reader) limit(n ast.Node, path string) caller.Limit {
	l := caller.Limit{Scope: caller.PerAccount, Algorithm: caller.Window}
	var metric string
	var perGiven, resetGiven bool
	algorithm, scope := string(l.Algorithm), string(l.Scope)
	r.mapping(n, path, map[string]field{
		"metric": {r.choice(&metric, string(caller.Requests), string(caller.Tokens), string(caller.InputTokens),
			string(caller.OutputTokens), string(caller.MicroDollars)), true},
		"limit":     {r.count(&l.Limit, maxUnits, "; no request could ever meet another"), true},
		"per":       {given(&perGiven, r.duration(&l.Per, time.Millisecond, maxPeriod)), false},
		"algorithm": {r.choice(&algorithm, string(caller.Window), string(caller.Bucket), string(caller.Daily)), false},
		"burst":     {r.count(&l.Burst, maxUnits, ""), false},
		"scope":     {r.choice(&scope, string(caller.PerAccount), string(caller.PerKey), string(caller.PerPool)), false},
		"models":    {r.texts(&l.Models), false},
		"time_zone": {r.timeZone(&l.Location), false},
		"reset_at":  {given(&resetGiven, r.duration(&l.ResetAt, 0, day-time.Nanosecond)), false},
	})
	l.Metric, l.Algorithm, l.Scope = caller.Metric(metric), caller.Algorithm(algorithm), caller.LimitScope(scope)

	daily := l.Algorithm == caller.Daily
	switch {
	case daily && !perGiven:
		l.Per = day
	case daily && l.Per != day:
		r.problemf(n, path, "a daily limit is per 24h; leave per out")
	case !daily && !perGiven:
		r.problemf(n, path, "per is missing; add it")
	}
	switch {
	case daily && l.Burst != 0:
		r.problemf(n, path, "a daily limit has no burst; take it out")
	case !daily && (l.Location != nil || resetGiven):
		r.problemf(n, path, "time_zone and reset_at are for the algorithm daily; take them out")
	case l.Limit > 0 && l.Burst > l.Limit:
		r.problemf(n, path, "burst must not be above limit")
	}
	return l
}

func (r *reader) timeZone(dst **time.Location) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		var name string
		if r.text(&name)(n, path); name == "" {
			return
		}
		zone, err := time.LoadLocation(name)
		if err != nil || name == "Local" {
			r.problemf(n, path, "unknown time zone; use a name such as UTC or America/Los_Angeles")
			return
		}
		*dst = zone
	}
}

// smallest is about the smallest request there is, in the form that most providers of language models share.
const smallest = `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}]}`

// unmet complains of a limit on what the provider's requests don't have, which would never hold anything back, and of
// one that even the smallest request is above.
func (r *reader) unmet(p *Pool, limits []limitAt) {
	req := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/v1/chat/completions"}, Header: http.Header{}}
	cost := p.Caller.Profile.Estimate(req, []byte(smallest))
	for _, l := range limits {
		units, counted := cost[l.Metric]
		switch {
		case l.Metric == "" || l.Limit.Limit == 0: // complained of already
		case !counted && l.Metric != caller.Requests:
			r.problemf(l.node, l.path, "%s of a request aren't known before it is made with provider %s, so a limit on them "+
				"would never hold one back; take it out, or change provider", l.Metric, p.Provider)
		case units > l.Limit.Limit:
			r.problemf(l.node, l.path, "no request could ever meet it: the smallest costs %d %s", units, l.Metric)
		}
	}
}
