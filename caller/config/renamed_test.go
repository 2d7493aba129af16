package config

import (
	"fmt"
	"strings"
	"testing"
)

// A field of an earlier version is an error that names its successor and the field's place.
func TestParse_NamesTheSuccessorOfARenamedField(t *testing.T) {
	t.Parallel()
	const limit = minimal + "limits:\n  - {metric: requests, rate: 5, period: 1s, "
	for src, want := range map[string]string{
		"pool: p\nbase_url: https://h\nkeys: [{id: k, secret: s}]\n":              "f:1:1: pool is now name; rename it",
		minimal + "slack: 50ms\n":                                                 "f:4:1: slack is now tuning.arrival_jitter; move it there",
		minimal + "horizon: 1s\n":                                                 "f:4:1: horizon is now tuning.horizon; move it there",
		minimal + "aging: 1s\n":                                                   "f:4:1: aging is now tuning.aging; move it there",
		minimal + "max_waiting: 1\n":                                              "f:4:1: max_waiting is now tuning.max_waiting; move it there",
		minimal + "ttl: 5s\n":                                                     "f:4:1: ttl is now tuning.session_ttl; move it there",
		minimal + "session: pod\n":                                                "f:4:1: session is now tuning.session_name; move it there",
		minimal + "outlive_lease: true\n":                                         "f:4:1: outlive_lease is now tuning.continue_on_lease_loss; move it there",
		minimal + "plain_errors: true\n":                                          "f:4:1: plain_errors is now transport.error_responses; move it there with the opposite value",
		minimal + "tuning:\n  ttl: 5s\n":                                          "f:5:3: tuning: ttl is now session_ttl; rename it",
		minimal + "transport: {plain_errors: true}\n":                             "f:4:13: transport: plain_errors is now error_responses; rename it with the opposite value",
		minimal + "transport: {return_errors: true}\n":                            "f:4:13: transport: return_errors is now error_responses; rename it with the opposite value",
		minimal + "breaker: {failures: 3}\n":                                      "f:4:11: breaker: failures is now failure_threshold; rename it",
		minimal + "strategy: headroom\n":                                          "f:4:11: strategy: headroom is now least_loaded; rename it",
		minimal + "strategy: in_order\n":                                          "f:4:11: strategy: in_order is now first_available; rename it",
		minimal + "limits:\n  - metric: requests\n    limit: 5\n    period: 1s\n": "f:6:5: limits[0]: limit is now rate; rename it",
		minimal + "limits:\n  - metric: requests\n    rate: 5\n    per: 1s\n":     "f:7:5: limits[0]: per is now period; rename it",
		limit + "headroom: 0.1}\n":                                                "f:5:45: limits[0]: headroom is now reserved; rename it",
		minimal + "limits:\n  - {metric: tokens, limit: 5, per: 1s, algorithm: daily, burst: 1}\n": "f:5:32: limits[0]: per is now period; rename it",
	} {
		_, err := Parse("f", []byte(src), anything)
		got := strings.Split(fmt.Sprint(err), "\n")
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q:\n got %v\nwant %s", src, err, want)
		}
		for _, line := range got {
			if strings.Contains(line, "missing") {
				t.Errorf("%q: got %q beside the successor, want the successor alone", src, line)
			}
		}
	}
}

// Every successor is a field that exists, so that following the advice works.
func TestRenamed_LeadsToExistingFields(t *testing.T) {
	t.Parallel()
	var d draft
	r := &reader{}
	tables := map[string]map[string]field{
		"": r.poolFields(&d), "limits": r.limitFields(new(limitDraft)), "breaker": r.breakerFields(new(int64), &d.Caller.Breaker.OpenFor),
		"tuning": r.tuningFields(&d.Caller.Tuning, new(int64)), "transport": r.transportFields(&d.Transport),
	}
	for path, names := range renamed {
		for old, now := range names {
			table := tables[path]
			if group, name, moved := strings.Cut(now, "."); moved {
				table, now = tables[group], name
			}
			if _, ok := table[now]; !ok {
				t.Errorf("%s.%s: got no field %q, want one", path, old, now)
			}
		}
	}
}
