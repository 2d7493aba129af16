package config

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// Parse returns a pool or errors, never shows the secret, and accepts nothing that New or the schema refuses.
func FuzzParse(f *testing.F) {
	const secret = "sk-canary-4711"
	f.Add(minimal)
	f.Add(minimal + "limits: [{metric: tokens, rate: 60_000, period: 1m, algorithm: bucket, burst: 500, models: [a*]}]\ntuning: {horizon: 1s}\n")
	f.Add(minimal + "limits: [{metric: chars, rate: 9, algorithm: daily, reset_at: 23:59, time_zone: Asia/Kolkata}]\nprovider: openai\n")
	f.Add(minimal + "retry: {attempts: 3, base: 1s, max: 2s, jitter: none, budget: {share: 0.1, per_second: 1}}\ntuning: {session_ttl: 1s}\n")
	f.Add("x: &x {<<: *x}\n" + minimal + "retry: {<<: *x}\n")
	schema := compile(f)
	f.Fuzz(func(t *testing.T, src string) {
		p, err := Parse("f", []byte(src), func(string) (string, bool) { return secret, true })
		if (p == nil) == (err == nil) {
			t.Fatalf("got pool %v and error %v, want one of them", p, err)
		}
		if err != nil {
			if strings.Contains(err.Error(), secret) {
				t.Fatal("got the secret in an error")
			}
			return
		}
		taken(t, p)
		if strings.Contains(src, "*") {
			return // a cyclic alias has no JSON
		}
		if _, err := yaml.YAMLToJSON([]byte(src)); err != nil {
			return // this decoder refuses more than the parser
		}
		if strings.Contains(src, "&") {
			return // the schema knows fewer names of fields that hold anchors
		}
		if err := validate(t, schema, src); err != nil {
			t.Error(err)
		}
	})
}
