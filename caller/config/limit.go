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
	maxUnits = 1 << 50 // as package caller bounds Rate
	day      = 24 * time.Hour
)

// limitAt is a limit and its place in the file.
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

// limitJSON adds the rules that depend on the algorithm to a limit's schema.
func limitJSON(s object) object {
	s["allOf"] = []object{
		{
			"if":   object{"properties": object{"algorithm": object{"enum": []caller.Algorithm{caller.Window, caller.Bucket}}}},
			"then": object{"required": []string{"period"}, "properties": object{"reset_at": false, "time_zone": false}},
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

// limitDraft is a limit while it is read.
type limitDraft struct {
	caller.Limit

	metric, algorithm, scope string
	resetAt                  time.Duration
}

func (r *reader) limitFields(d *limitDraft) map[string]field {
	return map[string]field{
		"metric": required(r.metric(&d.metric), "What is counted: requests, tokens, input_tokens, output_tokens, "+
			"micro_dollars, or a metric of your own whose cost the program gives with each call."),
		"rate": required(r.count(&d.Rate, maxUnits, "; no request could ever meet another"), "Units in a period, 1 to 2^50."),
		"period": optional(r.duration(&d.Period, time.Millisecond, maxPeriod),
			"The length of the window, or the time in which the bucket refills, 1ms to 8784h. Required, except for daily limits."),
		"algorithm": optional(r.choice(&d.algorithm, string(caller.Window), string(caller.Bucket), string(caller.Daily)),
			"How the provider counts: window (never above the limit in any window), bucket (refills continuously), "+
				"or daily (a count that restarts at reset_at). Default: window."),
		"burst": optional(r.count(&d.Burst, maxUnits, ""),
			"Units at once, 1 to rate less reserved. The default depends on metric and algorithm: see caller.Limit."),
		"reserved": optional(r.number(&d.Reserved, 0, 0.99),
			"The share of rate that the pool never uses, 0 to 0.99, for other clients of the account. Default: 0."),
		"scope": optional(r.choice(&d.scope, string(caller.PerAccount), string(caller.PerKey), string(caller.PerPool)),
			"What the limit applies to: each account, each key, or the pool as a whole. Default: account."),
		"models": optional(r.texts(&d.Models),
			"The models whose calls the limit counts, together; * stands for any text. Default: every call."),
		"reset_at":  optional(r.clock(&d.resetAt), "The time of day at which a daily limit restarts, in time_zone. Default: 00:00."),
		"time_zone": optional(r.zone(&d.Location), "The time zone of reset_at, a name of the IANA database. Default: UTC."),
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
	case daily && !r.has(n, "period"):
		l.Period = day
	case daily && l.Period != day:
		r.problemf(n, path, "the period of a daily limit is 24h; leave period out")
	case !daily && !r.has(n, "period") && !r.has(n, "per"): // per was reported as renamed
		r.problemf(n, path, "period is missing; add it")
	}
	switch {
	case daily && l.Burst != 0:
		r.problemf(n, path, "a daily limit has no burst; leave it out")
	case !daily && (r.has(n, "reset_at") || r.has(n, "time_zone")):
		r.problemf(n, path, "reset_at and time_zone are for algorithm daily; set that, or leave them out")
	case l.Rate > 0 && l.Burst > l.Usable():
		r.problemf(n, path, "burst must not be above rate less reserved")
	}
	return l
}

// metric reads the name of a metric. A name that is nearly that of a common metric is a mistake: no call has a cost of
// it, so a limit on it would never delay a call.
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
			r.problemf(n, path, "write %s if you mean that, or give your own metric a name that differs from it by more than two letters", m)
			return
		}
		*dst = s
	}
	own := object{"type": []string{"string", "number", "boolean"}, "pattern": metricName.String()}
	return kind{read, orVariable(object{"enum": common()}, own)}
}

var metricName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// checkBuckets reports a bucket that refills within the arrival jitter.
func (r *reader) checkBuckets(p *Pool, limits []limitAt) {
	jitter := cmp.Or(p.Caller.Tuning.ArrivalJitter, caller.DefaultArrivalJitter)
	for _, l := range limits {
		if l.Algorithm != caller.Bucket || l.Period == 0 || l.Rate == 0 {
			continue
		}
		units := float64(l.Usable())
		if units-math.Ceil(jitter.Seconds()*units/l.Period.Seconds()) < 1 {
			r.problemf(l.node, l.path, "the bucket refills within the arrival jitter of %v; set a smaller tuning.arrival_jitter", jitter)
		}
	}
}
