package config

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// Parse returns a pool or errors, never shows the secret, and takes nothing that New or the schema would refuse.
func FuzzParse(f *testing.F) {
	const secret = "sk-canary-4711"
	f.Add(minimal)
	f.Add(minimal + "limits: [{metric: tokens, limit: 60_000, per: 1m, algorithm: bucket, burst: 500, models: [a*]}]\nslack: 1s\n")
	f.Add(minimal + "limits: [{metric: chars, limit: 9, algorithm: daily, reset_at: 23:59, time_zone: Asia/Kolkata}]\nprovider: openai\n")
	f.Add(minimal + "retry: {attempts: 3, base: 1s, max: 2s, jitter: none, budget: {share: 0.1, per_second: 1}}\nttl: 1s\n")
	schema := compile(f)
	f.Fuzz(func(t *testing.T, src string) {
		p, err := Parse("f", []byte(src), func(string) (string, bool) { return secret, true })
		if (p == nil) == (err == nil) {
			t.Fatalf("%v %v", p, err)
		}
		if err != nil {
			if strings.Contains(err.Error(), secret) {
				t.Fatal("the secret is shown")
			}
			return
		}
		taken(t, p)
		if _, err := yaml.YAMLToJSON([]byte(src)); err != nil {
			return // the schema's way to read a file isn't ours
		}
		if err := validate(t, schema, src); err != nil {
			t.Error(err)
		}
	})
}
