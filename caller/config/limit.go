package config

import (
	"cmp"
	"math"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/caller"
)

const (
	maxUnits = 1 << 50 // as in package caller
	day      = 24 * time.Hour
)

// limitAt is a limit and where it stands.
type limitAt struct {
	caller.Limit

	node ast.Node
	path string
}

func (r *reader) limits(dst *[]limitAt) kind {
	read := func(n ast.Node, path string) {
		seen := make(map[string]bool)
		r.sequence(n, path, func(n ast.Node, path string) {
			l := r.limit(n, path)
			period := l.Period.String()
			if l.Algorithm == caller.Daily {
				period = "day"
			}
			id := strings.Join([]string{string(l.Scope), string(l.Metric), period, strings.Join(l.Models, ",")}, " ")
			if l.Metric != "" && seen[id] {
				r.problemf(n, path, "another limit counts the same metric over the same period; keep the lower one")
			}
			seen[id] = true
			*dst = append(*dst, limitAt{l, n, path})
		})
	}
	return kind{read, object{"type": "array", "items": limitJSON(mappingJSON(r.limitFields(new(limitDraft))))}}
}

// limitJSON adds what depends on the algorithm to a limit's schema.
func limitJSON(s object) object {
	s["allOf"] = []object{
		{
			"if":   object{"properties": object{"algorithm": object{"enum": []caller.Algorithm{caller.Window, caller.Bucket}}}},
			"then": object{"required": []string{"per"}, "properties": object{"reset_at": false, "time_zone": false}},
		},
		{
			"if": object{
				"properties": object{"algorithm": object{"const": caller.Daily}},
				"required":   []string{"algorithm"},
			},
			"then": object{"properties": object{"burst": false}},
		},
	}
	return s
}

// A limitDraft is a limit while it is read.
type limitDraft struct {
	caller.Limit

	metric, algorithm, scope string
	resetAt                  time.Duration
}

func (r *reader) limitFields(d *limitDraft) map[string]field {
	return map[string]field{
		"metric": required(r.metric(&d.metric), "What is counted: requests, tokens, input_tokens, output_tokens, "+
			"micro_dollars, or a metric of your own that the program gives with each call."),
		"limit": required(r.count(&d.Limit.Rate, maxUnits, "; no request could ever meet another"), "Units in a period."),
		"per":   optional(r.duration(&d.Period, time.Millisecond, maxPeriod), "The period, from 1ms to 8784h. Required, but for daily limits."),
		"algorithm": optional(r.choice(&d.algorithm, string(caller.Window), string(caller.Bucket), string(caller.Daily)),
			"How the provider counts: window (never above the limit in any window), bucket (refills continuously), "+
				"or daily (starts anew at reset_at). Default: window."),
		"burst": optional(r.count(&d.Burst, maxUnits, ""),
			"Units at once, up to the limit. The default goes by metric and algorithm: see caller.Limit."),
		"headroom": optional(r.number(&d.Reserved, 0, 0.99),
			"The part of limit that is never used, from 0 to 0.99, for others who use the account. Default: 0."),
		"scope": optional(r.choice(&d.scope, string(caller.PerAccount), string(caller.PerKey), string(caller.PerPool)),
			"What has the limit: each account, each key, or all of the pool together. Default: account."),
		"models": optional(r.texts(&d.Models),
			"The models that the limit counts, together; * stands for any text. Default: every call."),
		"reset_at":  optional(r.clock(&d.resetAt), "When a daily limit starts anew, in time_zone. Default: 00:00."),
		"time_zone": optional(r.zone(&d.Location), "Where reset_at is meant, as in the IANA database. Default: UTC."),
	}
}

func (r *reader) limit(n ast.Node, path string) caller.Limit {
	var d limitDraft
	r.mapping(n, path, r.limitFields(&d))
	l := d.Limit
	l.Metric, l.ResetAt = caller.Metric(d.metric), d.resetAt
	l.Algorithm = cmp.Or(caller.Algorithm(d.algorithm), caller.Window)
	l.Scope = cmp.Or(caller.LimitScope(d.scope), caller.PerAccount)
	daily := l.Algorithm == caller.Daily
	switch {
	case daily && !has(n, "per"):
		l.Period = day
	case daily && l.Period != day:
		r.problemf(n, path, "the period of a daily limit is 24h; leave per out")
	case !daily && !has(n, "per"):
		r.problemf(n, path, "per is missing; add it")
	}
	switch {
	case daily && l.Burst != 0:
		r.problemf(n, path, "a daily limit has no burst; leave it out")
	case !daily && (has(n, "reset_at") || has(n, "time_zone")):
		r.problemf(n, path, "reset_at and time_zone are for algorithm daily; set that, or leave them out")
	case l.Rate > 0 && l.Burst > l.Usable():
		r.problemf(n, path, "burst must not be above limit, less headroom")
	}
	return l
}

// metric reads the name of a metric. One that is nearly the name of a common metric is a mistake, since a limit on
// what no call costs would never hold one back.
func (r *reader) metric(dst *string) kind {
	read := func(n ast.Node, path string) {
		s, ok := r.scalar(n, path)
		if !ok {
			return
		}
		if !metricName.MatchString(s) {
			r.problemf(n, path, "must be requests, tokens, input_tokens, output_tokens, micro_dollars, or a metric of "+
				"your own: letters, digits, _, . and -")
			return
		}
		if m, mistaken := meant(s); mistaken {
			r.problemf(n, path, "write %s if you mean that; a metric of your own needs a name that is less like it", m)
			return
		}
		*dst = s
	}
	own := object{"type": []string{"string", "number", "boolean"}, "pattern": metricName.String()}
	return kind{read, orVariable(object{"enum": common()}, own)}
}

var metricName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// late complains of a bucket that is so small that the pool's slack is more than it holds.
func (r *reader) late(p *Pool, limits []limitAt) {
	slack := cmp.Or(p.Caller.Tuning.ArrivalJitter, caller.DefaultArrivalJitter)
	for _, l := range limits {
		if l.Algorithm != caller.Bucket || l.Period == 0 || l.Limit.Rate == 0 {
			continue
		}
		units := float64(l.Usable())
		if units-math.Ceil(slack.Seconds()*units/l.Period.Seconds()) < 1 {
			r.problemf(l.node, l.path, "the bucket refills within the slack of %v; set a smaller slack", slack)
		}
	}
}
