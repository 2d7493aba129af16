package config_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/config"
	"github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/concurrency"
	"github.com/penstock/penstock/retry"
)

const canary = "sk-canary-4711"

// env is the environment of these tests.
func env(name string) (string, bool) {
	v, ok := map[string]string{
		"KEY_1": canary, "KEY_2": "sk-two", "EMPTY": "", "LIMIT": "600", "BROKEN": canary + "\n",
	}[name]
	return v, ok
}

func parse(src string) (*config.Pool, error) { return config.Parse("pool.yaml", []byte(src), env) }

const whole = `pool: openai-prod              # processes with the same pool and Redis share the quota
base_url: http://127.0.0.1:18080/
provider: openai
keys:
  - id: k1
    secret: ${KEY_1}    # from the environment
    account: org-a
    weight: 3
  - {id: 2, secret: "x-${KEY_2}-$${plain}"}
limits:
  - metric: requests
    limit: ${LIMIT}
    per: 60s
  - metric: tokens
    limit: 60_000
    headroom: 0.05
    per: 1m
    algorithm: bucket
    burst: 500
    scope: key
    models: [gpt-5*, "o4-*"]
  - {metric: images, limit: 1000, headroom: 0.25, algorithm: daily, reset_at: 07:30, time_zone: America/Los_Angeles, scope: pool}
concurrency: 20
adaptive: {gradient: true, min: 2, initial: 5, backoff: 0.5, window: 1s, tolerance: 2, smoothing: 0.5, queue: 3}
strategy: first_available
retry:
  attempts: 7
  base: 100ms
  max: 10s
  multiplier: 1.5
  jitter: decorrelated
  max_elapsed: 5m
  budget: {share: 0.1, per_second: 2}
timeout: 20m
attempt_timeout: 90s
idempotency_keys: true
breaker: {failures: 4, open_for: 2s}
hedge: {after: 3s, percentile: 0.9}
slack: 50ms
horizon: 300ms
aging: 1m
max_waiting: 5_000
ttl: 3s
outlive_lease: true
session: pod-7
plain_errors: true
`

func TestAWholeConfiguration(t *testing.T) {
	p, err := parse(whole)
	if err != nil {
		t.Fatal(err)
	}
	c := p.Caller
	if p.BaseURL.String() != "http://127.0.0.1:18080" || p.Provider != "openai" || c.Profile.Name != "openai" {
		t.Errorf("%v %q %q", p.BaseURL, p.Provider, c.Profile.Name)
	}
	if c.Name != "openai-prod" || c.Concurrency != 20 || c.Tuning.ArrivalJitter != 50*time.Millisecond || c.Tuning.SessionTTL != 3*time.Second {
		t.Errorf("%q %d %v %v", c.Name, c.Concurrency, c.Tuning.ArrivalJitter, c.Tuning.SessionTTL)
	}
	if c.Strategy != caller.FirstAvailable || c.Tuning.Horizon != 300*time.Millisecond || c.Tuning.Aging != time.Minute ||
		c.Tuning.MaxWaiting != 5000 || c.Tuning.SessionName != "pod-7" || !p.Transport.ReturnErrors || !c.Tuning.ContinueOnLeaseLoss {
		t.Errorf("%q %v %v %d %q %v", c.Strategy, c.Tuning.Horizon, c.Tuning.Aging, c.Tuning.MaxWaiting, c.Tuning.SessionName, p.Transport.ReturnErrors)
	}
	if c.Breaker != (caller.Breaker{FailureThreshold: 4, OpenFor: 2 * time.Second}) {
		t.Errorf("%+v", c.Breaker)
	}
	if c.Hedge != (caller.Hedge{After: 3 * time.Second, Percentile: 0.9}) {
		t.Errorf("%+v", c.Hedge)
	}
	adaptive := concurrency.Adaptive{
		Gradient: true, Min: 2, Initial: 5, Backoff: 0.5, Window: time.Second, Tolerance: 2, Smoothing: 0.5, Queue: 3,
	}
	if c.Adaptive == nil || *c.Adaptive != adaptive {
		t.Errorf("%+v", c.Adaptive)
	}
	if c.Timeout != 20*time.Minute || c.AttemptTimeout != 90*time.Second || !c.IdempotencyKeys {
		t.Errorf("%v %v %v", c.Timeout, c.AttemptTimeout, c.IdempotencyKeys)
	}
	if c.Retry.Budget == nil {
		t.Error("no retry budget")
	}
	c.Retry.Budget = nil
	policy := retry.Policy{
		Attempts: 7, Base: 100 * time.Millisecond, Max: 10 * time.Second, Multiplier: 1.5,
		Jitter: retry.DecorrelatedJitter, MaxElapsed: 5 * time.Minute,
	}
	if !reflect.DeepEqual(c.Retry, policy) {
		t.Errorf("retry %+v", c.Retry)
	}
	keys := []caller.Key{{ID: "k1", Secret: caller.NewSecret(canary), Account: "org-a", Weight: 3}, {ID: "2", Secret: caller.NewSecret("x-sk-two-${plain}")}}
	if len(c.Keys) != 2 || c.Keys[0] != keys[0] || c.Keys[1] != keys[1] {
		t.Errorf("keys differ")
	}
	pacific, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		t.Fatal(err)
	}
	limits := []caller.Limit{
		{Metric: caller.Requests, Rate: 600, Period: time.Minute, Algorithm: caller.Window, Scope: caller.PerAccount},
		{Metric: caller.Tokens, Rate: 60_000, Period: time.Minute, Algorithm: caller.Bucket, Burst: 500, Reserved: 0.05,
			Scope: caller.PerKey, Models: []string{"gpt-5*", "o4-*"}},
		{Metric: "images", Rate: 1000, Reserved: 0.25, Period: 24 * time.Hour, Algorithm: caller.Daily, Scope: caller.PerPool,
			ResetAt: 7*time.Hour + 30*time.Minute, Location: pacific},
	}
	if !reflect.DeepEqual(c.Limits, limits) {
		t.Errorf("limits %+v", c.Limits)
	}
}

func TestProblems(t *testing.T) {
	const head = "pool: p\nbase_url: http://h\n"
	const keys = head + "keys:\n  - id: k1\n    secret: ${KEY_1}\n"
	for name, tc := range map[string]struct{ src, want string }{
		"empty":            {"# nothing\n", "pool.yaml: empty"},
		"missing":          {head, "pool.yaml:1:5: keys is missing; add it"},
		"no keys":          {head + "keys: []\n", "pool.yaml:3:7: keys: is empty; at least one key is required"},
		"unset variable":   {head + "keys:\n  - id: k1\n    secret: ${KEY_9}\n", "pool.yaml:5:13: keys[0].secret: environment variable KEY_9 is not set"},
		"empty variable":   {head + "keys:\n  - id: k1\n    secret: ${EMPTY}\n", "pool.yaml:5:13: keys[0].secret: is empty"},
		"line break":       {head + "keys:\n  - id: k1\n    secret: ${BROKEN}\n", "pool.yaml:5:13: keys[0].secret: has a space, a line break"},
		"half a variable":  {head + "keys:\n  - id: k1\n    secret: ${KEY_1\n", "pool.yaml:5:13: keys[0].secret: a ${ without the name"},
		"unknown field":    {keys + "retires: 1\n", `pool.yaml:6:1: unknown field "retires"; known here: adaptive, aging, attempt_timeout, `},
		"unknown in key":   {keys + "    acount: a\n", `pool.yaml:6:5: keys[0]: unknown field "acount"; known here: account, id, secret, weight`},
		"field twice":      {keys + "pool: q\n", `pool.yaml:6:1: not valid YAML: mapping key "pool" already defined`},
		"bad YAML":         {keys + "limits: [\n", "pool.yaml:6:9: not valid YAML"},
		"variable in flow": {head + "keys: [{id: k1, secret: ${KEY_1}}]\n", "pool.yaml:3:"},
		"two documents":    {keys + "---\na: 1\n", "pool.yaml:7:2: a second document"},
		"anchor":           {keys + "concurrency: &n 5\n", "concurrency: anchors, aliases and tags aren't supported"},
		"list for mapping": {"- a\n", "pool.yaml:1:1: must be a mapping"},
		"mapping for list": {head + "keys: {id: a}\n", "keys: must be a list"},
		"list for text":    {keys + "provider: [openai]\n", "provider: must be a single value"},
		"no value":         {keys + "concurrency:\n", "pool.yaml:6:14: concurrency: is empty"},
		"same id":          {keys + "  - id: k1\n    secret: ${KEY_2}\n", "keys[1]: another key has this id"},
		"same secret":      {keys + "  - id: k2\n    secret: ${KEY_1}\n", "keys[1]: another key has this secret"},
		"limit nobody meets": {keys + "limits:\n  - metric: requests\n    limit: 0\n    per: 60s\n",
			"pool.yaml:8:12: limits[0].limit: must be a whole number from 1 to 1125899906842624; no request could ever meet another"},
		"negative limit":  {keys + "limits:\n  - {metric: requests, limit: -5, per: 1s}\n", "limits[0].limit: must be a whole number"},
		"half a request":  {keys + "limits:\n  - {metric: requests, limit: 0.5, per: 1s}\n", "limits[0].limit: must be a whole number"},
		"no unit":         {keys + "limits:\n  - {metric: requests, limit: 5, per: 60}\n", "limits[0].per: must be a time with its unit"},
		"no time":         {keys + "limits:\n  - {metric: requests, limit: 5, per: 0s}\n", "limits[0].per: must be from 1ms to 8784h"},
		"mistyped metric": {keys + "limits:\n  - {metric: request, limit: 5, per: 1s}\n", "limits[0].metric: write requests if you mean that"},
		"algorithm":       {keys + "limits:\n  - {metric: requests, limit: 5, per: 1s, algorithm: leaky}\n", "must be one of window, bucket, daily"},
		"burst":           {keys + "limits:\n  - {metric: requests, limit: 5, per: 1s, burst: 6}\n", "limits[0]: burst must not be above limit"},
		"same limit":      {keys + "limits:\n  - {metric: requests, limit: 5, per: 60s}\n  - {metric: requests, limit: 6, per: 1m}\n", "limits[1]: another limit counts the same metric"},
		"concurrency":     {keys + "concurrency: 0\n", "concurrency: must be a whole number from 1 to 2147483647; leave it out"},
		"adaptive alone":  {keys + "adaptive: {}\n", "adaptive: needs concurrency"},
		"adaptive":        {keys + "concurrency: 4\nadaptive: {initial: 5}\n", "adaptive: must have min <= initial <= concurrency"},
		"provider":        {keys + "provider: opnai\n", "provider: unknown provider; use one of "},
		"relative URL":    {"pool: p\nbase_url: api.openai.com\nkeys: [{id: a, secret: b}]\n", "pool.yaml:2:11: base_url: must be a full URL"},
		"password in URL": {"pool: p\nbase_url: https://u:p@h\nkeys: [{id: a, secret: b}]\n", "base_url: must have no user"},
		"retry":           {keys + "retry: {base: 2s, max: 1s}\n", "retry: base must not be above max"},
		"time zone": {keys + "limits: [{metric: requests, limit: 5, algorithm: daily, time_zone: Mars/Olympus}]\n",
			"pool.yaml:6:68: limits[0].time_zone: no such time zone here; use a name of the IANA database"},
		"own zone":        {keys + "limits: [{metric: requests, limit: 5, algorithm: daily, time_zone: Local}]\n", "Local differs from machine to machine"},
		"reset at":        {keys + "limits: [{metric: requests, limit: 5, algorithm: daily, reset_at: 24:00}]\n", "limits[0].reset_at: must be a time of day"},
		"reset of window": {keys + "limits: [{metric: requests, limit: 5, per: 1s, reset_at: 01:00}]\n", "limits[0]: reset_at and time_zone are for algorithm daily"},
		"long day":        {keys + "limits: [{metric: requests, limit: 5, per: 1s, algorithm: daily}]\n", "limits[0]: the period of a daily limit is 24h; leave per out"},
		"burst of a day":  {keys + "limits: [{metric: requests, limit: 5, burst: 2, algorithm: daily}]\n", "limits[0]: a daily limit has no burst"},
		"no period":       {keys + "limits: [{metric: requests, limit: 5}]\n", "limits[0]: per is missing; add it"},
		"small bucket":    {keys + "limits: [{metric: requests, limit: 5, per: 50ms, algorithm: bucket}]\n", "limits[0]: the bucket refills within the slack of 100ms"},
		"no models":       {keys + "limits: [{metric: requests, limit: 5, per: 1s, models: []}]\n", "limits[0].models: is empty; name at least one"},
		"metric's name":   {keys + "limits: [{metric: a/b, limit: 5, per: 1s}]\n", "limits[0].metric: must be requests, tokens, input_tokens"},
		"empty model":     {keys + "limits: [{metric: requests, limit: 5, per: 1s, models: [\"\"]}]\n", "limits[0].models[0]: is empty"},
		"scope":           {keys + "limits: [{metric: requests, limit: 5, per: 1s, scope: org}]\n", "must be one of account, key, pool"},
		"weight":          {keys + "    weight: 0\n", "keys[0].weight: must be a whole number from 1 to 1000000"},
		"strategy":        {keys + "strategy: random\n", "strategy: must be one of least_loaded, round_robin, first_available"},
		"multiplier":      {keys + "retry: {multiplier: 0.5}\n", "retry.multiplier: must be a number from 1 to 1000"},
		"budget":          {keys + "retry: {budget: {share: 2, per_second: 1}}\n", "retry.budget.share: must be a number from 0 to 1"},
		"half a budget":   {keys + "retry: {budget: {share: 0.2}}\n", "retry.budget: per_second is missing; add it"},
		"yes":             {keys + "plain_errors: 1\n", "plain_errors: must be one of true, false"},
		"ttl":             {keys + "ttl: 10ms\n", "ttl: must be from 1s to 1h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(tc.src)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got  %v\nwant %s", err, tc.want)
			}
			e, ok := errors.AsType[*config.Error](err)
			if !ok || e.File != "pool.yaml" {
				t.Errorf("not an *Error of the file: %#v", err)
			}
		})
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	_, err := parse("pool: ${A}\nbase_url: ${B}\nkeys:\n  - id: k\n    secret: ${C}${D}\n")
	for _, v := range []string{"1:7: pool: environment variable A", "2:11: base_url: environment variable B",
		"5:13: keys[0].secret: environment variable C", "variable D"} {
		if !strings.Contains(fmt.Sprint(err), v) {
			t.Errorf("%q is missing in: %v", v, err)
		}
	}
}

func TestLimitsThatAProviderCannotCount(t *testing.T) {
	for _, name := range append(provider.Names(), "") {
		for _, metric := range []caller.Metric{caller.Requests, caller.Tokens, caller.InputTokens, caller.OutputTokens, caller.MicroDollars} {
			src := fmt.Sprintf("pool: p\nbase_url: http://h\nkeys: [{id: a, secret: b}]\nlimits: [{metric: %s, limit: 1, per: 1s}]\n", metric)
			if name != "" {
				src += "provider: " + name + "\n"
			}
			models := !slices.Contains([]string{"generic", "github", "ietf", ""}, name)
			counted := metric == caller.Requests || models && metric != caller.MicroDollars
			_, err := parse(src)
			small := err != nil && strings.Contains(err.Error(), "no request could ever meet it: the smallest costs")
			if unknown := err != nil && strings.Contains(err.Error(), "aren't known before it is made"); unknown == counted || (err != nil) != (unknown || small) {
				t.Errorf("%s with provider %q: %v", metric, name, err)
			}
		}
	}
}

// The secret is put wherever a value, or by mistake a name, can stand, as plain text and by variable; whatever is
// wrong there, no message may show it.
func TestNoErrorShowsASecret(t *testing.T) {
	for _, secret := range []string{canary, "${KEY_1}", `"` + canary, "'" + canary, "@" + canary, "!!int " + canary,
		"&" + canary, "*" + canary, "[" + canary, "{" + canary, canary + ": b", "|\n  " + canary + "\n b", "\"\\q" + canary + "\"",
		"%" + canary, canary + "\n  x: y", "? " + canary} {
		for i, line := range strings.Split(strings.TrimSpace(whole), "\n") {
			name, _, _ := strings.Cut(line, ":")
			for _, changed := range []string{name + ": " + secret, name + ":" + secret, name + " " + secret, secret + ": 1", secret} {
				lines := strings.Split(whole, "\n")
				lines[i] = changed
				if _, err := parse(strings.Join(lines, "\n")); err != nil && strings.Contains(fmt.Sprintf("%v %+v", err, err), "canary") {
					t.Errorf("line %q: %v", changed, err)
				}
			}
		}
	}
}

func TestASecretInAPublicNameIsRefused(t *testing.T) {
	const keys = "pool: a\nbase_url: http://h\nkeys: [{id: a, secret: \"${KEY_1}\"}]\n"
	for _, src := range []string{
		keys + "session: s-${KEY_1}\n",
		keys + "limits: [{metric: \"${KEY_1}\", limit: 1, per: 1s}]\n",
		keys + "limits: [{metric: requests, limit: 1, per: 1s, models: [\"m-${KEY_1}*\"]}]\n",
		"pool: a-${KEY_1}\nbase_url: http://h\nkeys: [{id: a, secret: \"${KEY_1}\"}]\n",
		"pool: a\nbase_url: http://h/${KEY_1}\nkeys: [{id: a, secret: \"${KEY_1}\"}]\n",
		"pool: a\nbase_url: http://h\nkeys: [{id: \"${KEY_1}\", secret: \"${KEY_1}\"}]\n",
		"pool: a\nbase_url: http://h\nkeys: [{id: a, secret: \"${KEY_1}\"}, {id: b, secret: c, account: \"${KEY_1}\"}]\n",
	} {
		if _, err := parse(src); err == nil || !strings.Contains(err.Error(), "the secret stands in") {
			t.Errorf("%q: %v", src, err)
		}
	}
}
