package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Anchors, aliases and merge keys have YAML's meaning; a field in place wins over a merged one, and an earlier merge over a
// later one.
func TestParse_ResolvesAnchorsAndMergeKeys(t *testing.T) {
	t.Parallel()
	for name, src := range map[string]string{
		"a mapping":       "common: &d {period: 60s, rate: 5}\n" + minimal + "limits:\n  - <<: *d\n    metric: requests\n    rate: 600\n",
		"in braces":       "defaults: &d {period: 60s}\n" + minimal + "limits: [{<<: *d, metric: requests, rate: 600}]\n",
		"a list":          "x-a: &a {rate: 600}\nx-b: &b {rate: 5, period: 60s}\n" + minimal + "limits: [{<<: [*a, *b], metric: requests}]\n",
		"nested":          "a: &a {period: 60s}\nb: &b {<<: *a, rate: 600}\n" + minimal + "limits: [{<<: *b, metric: requests}]\n",
		"an alias":        minimal + "timeout: &minute 60s\nlimits: [{metric: requests, rate: 600, period: *minute}]\n",
		"a whole limit":   minimal + "templates: &t {metric: requests, rate: 600, period: 60s}\nlimits: [*t]\n",
		"defined twice":   "a: &a 1s\nb: &a 60s\n" + minimal + "attempt_timeout: *a\nlimits: [{metric: requests, rate: 600, period: *a}]\n",
		"from one before": minimal + "limits:\n  - &first {metric: tokens, rate: 600, period: 60s, models: [a]}\n  - {<<: *first, metric: requests}\nprovider: openai\n",
	} {
		if name == "defined twice" {
			src = strings.Replace(src, "a: &a 1s", "timeout: &a 1s", 1)
		}
		p, err := Parse("f", []byte(src), anything)
		if err != nil {
			t.Errorf("%s: got %v, want no error", name, err)
			continue
		}
		if l := p.Caller.Limits[len(p.Caller.Limits)-1]; l.Rate != 600 || l.Period != time.Minute || l.Metric != "requests" {
			t.Errorf("%s: got %+v, want 600 requests in a minute", name, l)
		}
	}
}

// What is wrong with an alias is reported where it stands, and cycles end.
func TestParse_RefusesBrokenAnchors(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		minimal + "timeout: *t\n":                                   "f:4:10: timeout: an alias without an anchor above it",
		minimal + "timeout: *t\nattempt_timeout: &t 5s\n":           "f:4:10: timeout: an alias without an anchor above it",
		"x: &x {<<: *x}\n" + minimal + "retry: {<<: *x}\n":          "merge keys nest more than 8 deep",
		minimal + "retry: {<<: 5}\n":                                "f:4:13: retry: a merge key takes a mapping",
		"x: &x {atempts: 5}\n" + minimal + "retry: {<<: *x}\n":      `f:1:8: retry: unknown field "atempts"`,
		"limts: &x {attempts: 5}\n" + minimal + "retry: {<<: *x}\n": `f:1:1: unknown field "limts"`,
		"common: {attempts: 5}\n" + minimal:                         `f:1:1: unknown field "common"`,
		minimal + "keys2: &k [*k]\nlimits: *k\n":                    "limits",
	} {
		if _, err := Parse("f", []byte(src), anything); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q:\n got %v\nwant %s", src, err, want)
		}
	}
}
