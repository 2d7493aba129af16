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

const whole = `name: openai-prod              # processes with the same pool and Redis share the quota
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
    rate: ${LIMIT}
    period: 60s
  - metric: tokens
    rate: 60_000
    reserved: 0.05
    period: 1m
    algorithm: bucket
    burst: 500
    scope: key
    models: [gpt-5*, "o4-*"]
  - {metric: images, rate: 1000, reserved: 0.25, algorithm: daily, reset_at: 07:30, time_zone: America/Los_Angeles, scope: pool}
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
shadow: true
ramp_up: 5m
breaker: {failure_threshold: 4, open_for: 2s}
hedge: {after: 3s, percentile: 0.9}
tuning:
  arrival_jitter: 50ms
  horizon: 300ms
  aging: 1m
  max_waiting: 5_000
  session_ttl: 3s
  continue_on_lease_loss: true
  session_name: pod-7
transport: {error_responses: true}
`

// Every field reaches its place in caller.Config.
func TestParse_ReadsEveryField(t *testing.T) {
	p, err := parse(whole)
	if err != nil {
		t.Fatal(err)
	}
	c := p.Caller
	if p.BaseURL.String() != "http://127.0.0.1:18080" || p.Provider != "openai" || c.Profile.Name != "openai" {
		t.Errorf("got base URL %v, provider %q, profile %q, want http://127.0.0.1:18080, openai twice", p.BaseURL, p.Provider, c.Profile.Name)
	}
	if c.Name != "openai-prod" || c.Concurrency != 20 || c.Strategy != caller.FirstAvailable {
		t.Errorf("got name %q, concurrency %d, strategy %q, want openai-prod, 20, first_available", c.Name, c.Concurrency, c.Strategy)
	}
	tuning := caller.Tuning{
		ArrivalJitter: 50 * time.Millisecond, Horizon: 300 * time.Millisecond, Aging: time.Minute, MaxWaiting: 5000,
		SessionTTL: 3 * time.Second, SessionName: "pod-7", ContinueOnLeaseLoss: true,
	}
	if c.Tuning != tuning || !p.Transport.ErrorResponses {
		t.Errorf("got tuning %+v, error_responses %v, want %+v, true", c.Tuning, p.Transport.ErrorResponses, tuning)
	}
	breaker, hedge := caller.Breaker{FailureThreshold: 4, OpenFor: 2 * time.Second}, caller.Hedge{After: 3 * time.Second, Percentile: 0.9}
	if c.Breaker != breaker || c.Hedge != hedge {
		t.Errorf("got breaker %+v, hedge %+v, want %+v, %+v", c.Breaker, c.Hedge, breaker, hedge)
	}
	adaptive := concurrency.Adaptive{
		Gradient: true, Min: 2, Initial: 5, Backoff: 0.5, Window: time.Second, Tolerance: 2, Smoothing: 0.5, Queue: 3,
	}
	if c.Adaptive == nil || *c.Adaptive != adaptive {
		t.Errorf("got adaptive %+v, want %+v", c.Adaptive, adaptive)
	}
	if c.Timeout != 20*time.Minute || c.AttemptTimeout != 90*time.Second || !c.IdempotencyKeys || !c.Shadow || c.RampUp != 5*time.Minute {
		t.Errorf("got timeouts %v and %v, idempotency keys %v, shadow %v, ramp %v, want 20m, 90s, true, true, 5m",
			c.Timeout, c.AttemptTimeout, c.IdempotencyKeys, c.Shadow, c.RampUp)
	}
	if c.Retry.Budget == nil {
		t.Error("got no retry budget, want one")
	}
	c.Retry.Budget = nil
	policy := retry.Policy{
		Attempts: 7, Base: 100 * time.Millisecond, Max: 10 * time.Second, Multiplier: 1.5,
		Jitter: retry.DecorrelatedJitter, MaxElapsed: 5 * time.Minute,
	}
	if !reflect.DeepEqual(c.Retry, policy) {
		t.Errorf("got retry %+v, want %+v", c.Retry, policy)
	}
	keys := []caller.Key{{ID: "k1", Secret: caller.NewSecret(canary), Account: "org-a", Weight: 3}, {ID: "2", Secret: caller.NewSecret("x-sk-two-${plain}")}}
	if !reflect.DeepEqual(c.Keys, keys) {
		t.Error("got other keys than the file's")
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
		t.Errorf("got limits %+v, want %+v", c.Limits, limits)
	}
}

// Each problem is an *Error with position, field and what to do.
func TestParse_SaysWhatIsWrongAndWhere(t *testing.T) {
	const head = "name: p\nbase_url: http://h\n"
	const keys = head + "keys:\n  - id: k1\n    secret: ${KEY_1}\n"
	for name, tc := range map[string]struct{ src, want string }{
		"empty":            {"# nothing\n", "pool.yaml: empty"},
		"missing":          {head, "pool.yaml:1:5: keys is missing; add it"},
		"no keys":          {head + "keys: []\n", "pool.yaml:3:7: keys: is empty; at least one key is required"},
		"unset variable":   {head + "keys:\n  - id: k1\n    secret: ${KEY_9}\n", "pool.yaml:5:13: keys[0].secret: environment variable KEY_9 is not set"},
		"empty variable":   {head + "keys:\n  - id: k1\n    secret: ${EMPTY}\n", "pool.yaml:5:13: keys[0].secret: is empty"},
		"line break":       {head + "keys:\n  - id: k1\n    secret: ${BROKEN}\n", "pool.yaml:5:13: keys[0].secret: has a space, a line break"},
		"half a variable":  {head + "keys:\n  - id: k1\n    secret: ${KEY_1\n", "pool.yaml:5:13: keys[0].secret: a ${ without the name"},
		"unknown field":    {keys + "retires: 1\n", `pool.yaml:6:1: unknown field "retires"; known here: accounts, adaptive, attempt_timeout, base_url, `},
		"unknown in key":   {keys + "    acount: a\n", `pool.yaml:6:5: keys[0]: unknown field "acount"; known here: account, id, secret, weight`},
		"field twice":      {keys + "name: q\n", `pool.yaml:6:1: not valid YAML: mapping key "name" already defined`},
		"bad YAML":         {keys + "limits: [\n", "pool.yaml:6:9: not valid YAML"},
		"variable in flow": {head + "keys: [{id: k1, secret: ${KEY_1}}]\n", "pool.yaml:3:"},
		"two documents":    {keys + "---\na: 1\n", "pool.yaml:7:2: a second document"},
		"tag":              {keys + "concurrency: !ENV N\n", "concurrency: tags aren't supported"},
		"list for mapping": {"- a\n", "pool.yaml:1:1: must be a mapping"},
		"mapping for list": {head + "keys: {id: a}\n", "keys: must be a list"},
		"list for text":    {keys + "provider: [openai]\n", "provider: must be a single value"},
		"no value":         {keys + "concurrency:\n", "pool.yaml:6:14: concurrency: is empty"},
		"same id":          {keys + "  - id: k1\n    secret: ${KEY_2}\n", "keys[1]: another key has this id"},
		"same secret":      {keys + "  - id: k2\n    secret: ${KEY_1}\n", "keys[1]: another key has this secret"},
		"limit nobody meets": {keys + "limits:\n  - metric: requests\n    rate: 0\n    period: 60s\n",
			"pool.yaml:8:11: limits[0].rate: must be a whole number from 1 to 1125899906842624; no request could ever meet another"},
		"negative limit":  {keys + "limits:\n  - {metric: requests, rate: -5, period: 1s}\n", "limits[0].rate: must be a whole number"},
		"half a request":  {keys + "limits:\n  - {metric: requests, rate: 0.5, period: 1s}\n", "limits[0].rate: must be a whole number"},
		"no unit":         {keys + "limits:\n  - {metric: requests, rate: 5, period: 60}\n", "limits[0].period: must be a time with its unit"},
		"no time":         {keys + "limits:\n  - {metric: requests, rate: 5, period: 0s}\n", "limits[0].period: must be from 1ms to 8784h"},
		"mistyped metric": {keys + "limits:\n  - {metric: request, rate: 5, period: 1s}\n", "limits[0].metric: write requests if you mean that"},
		"algorithm":       {keys + "limits:\n  - {metric: requests, rate: 5, period: 1s, algorithm: leaky}\n", "must be one of window, bucket, daily"},
		"burst":           {keys + "limits:\n  - {metric: requests, rate: 5, period: 1s, burst: 6}\n", "limits[0]: burst must not be above rate less reserved"},
		"same limit":      {keys + "limits:\n  - {metric: requests, rate: 5, period: 60s}\n  - {metric: requests, rate: 6, period: 1m}\n", "limits[1]: another limit counts the same metric"},
		"concurrency":     {keys + "concurrency: 0\n", "concurrency: must be a whole number from 1 to 2147483647; leave it out"},
		"adaptive alone":  {keys + "adaptive: {}\n", "adaptive: needs concurrency"},
		"adaptive":        {keys + "concurrency: 4\nadaptive: {initial: 5}\n", "adaptive: must have min <= initial <= concurrency"},
		"provider":        {keys + "provider: opnai\n", "provider: unknown provider; use one of "},
		"relative URL":    {"name: p\nbase_url: api.openai.com\nkeys: [{id: a, secret: b}]\n", "pool.yaml:2:11: base_url: must be a full URL"},
		"password in URL": {"name: p\nbase_url: https://u:p@h\nkeys: [{id: a, secret: b}]\n", "base_url: must have no user"},
		"retry":           {keys + "retry: {base: 2s, max: 1s}\n", "retry: base must not be above max"},
		"time zone": {keys + "limits: [{metric: requests, rate: 5, algorithm: daily, time_zone: Mars/Olympus}]\n",
			"pool.yaml:6:67: limits[0].time_zone: no such time zone here; use a name of the IANA database"},
		"own zone":        {keys + "limits: [{metric: requests, rate: 5, algorithm: daily, time_zone: Local}]\n", "Local differs from machine to machine"},
		"reset at":        {keys + "limits: [{metric: requests, rate: 5, algorithm: daily, reset_at: 24:00}]\n", "limits[0].reset_at: must be a time of day"},
		"reset of window": {keys + "limits: [{metric: requests, rate: 5, period: 1s, reset_at: 01:00}]\n", "limits[0]: reset_at and time_zone are for algorithm daily"},
		"long day":        {keys + "limits: [{metric: requests, rate: 5, period: 1s, algorithm: daily}]\n", "limits[0]: the period of a daily limit is 24h; leave period out"},
		"burst of a day":  {keys + "limits: [{metric: requests, rate: 5, burst: 2, algorithm: daily}]\n", "limits[0]: a daily limit has no burst"},
		"no period":       {keys + "limits: [{metric: requests, rate: 5}]\n", "limits[0]: period is missing; add it"},
		"small bucket":    {keys + "limits: [{metric: requests, rate: 5, period: 50ms, algorithm: bucket}]\n", "limits[0]: the bucket refills within the arrival jitter of 100ms"},
		"no models":       {keys + "limits: [{metric: requests, rate: 5, period: 1s, models: []}]\n", "limits[0].models: is empty; name at least one"},
		"metric's name":   {keys + "limits: [{metric: a/b, rate: 5, period: 1s}]\n", "limits[0].metric: must be requests, tokens, input_tokens"},
		"empty model":     {keys + "limits: [{metric: requests, rate: 5, period: 1s, models: [\"\"]}]\n", "limits[0].models[0]: is empty"},
		"scope":           {keys + "limits: [{metric: requests, rate: 5, period: 1s, scope: org}]\n", "must be one of account, key, pool"},
		"weight":          {keys + "    weight: 0\n", "keys[0].weight: must be a whole number from 1 to 1000000"},
		"strategy":        {keys + "strategy: random\n", "strategy: must be one of least_loaded, round_robin, first_available"},
		"multiplier":      {keys + "retry: {multiplier: 0.5}\n", "retry.multiplier: must be a number from 1 to 1000"},
		"budget":          {keys + "retry: {budget: {share: 2, per_second: 1}}\n", "retry.budget.share: must be a number from 0 to 1"},
		"half a budget":   {keys + "retry: {budget: {share: 0.2}}\n", "retry.budget: per_second is missing; add it"},
		"boolean":         {keys + "transport: {error_responses: 1}\n", "transport.error_responses: must be one of true, false"},
		"ttl":             {keys + "tuning: {session_ttl: 10ms}\n", "tuning.session_ttl: must be from 1s to 1h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(tc.src)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got  %v\nwant %s", err, tc.want)
			}
			e, ok := errors.AsType[*config.Error](err)
			if !ok || e.File != "pool.yaml" {
				t.Errorf("got %#v, want an *Error with the file's name", err)
			}
		})
	}
}

// One run reports all problems of a file.
func TestParse_ReportsEveryProblem(t *testing.T) {
	_, err := parse("name: ${A}\nbase_url: ${B}\nkeys:\n  - id: k\n    secret: ${C}${D}\n")
	for _, v := range []string{"1:7: name: environment variable A", "2:11: base_url: environment variable B",
		"5:13: keys[0].secret: environment variable C", "variable D"} {
		if !strings.Contains(fmt.Sprint(err), v) {
			t.Errorf("got %v, want %q in it", err, v)
		}
	}
}

// A limit on a metric without an estimate would never delay a call.
func TestParse_RefusesLimitsWithoutEstimate(t *testing.T) {
	for _, name := range append(provider.Names(), "") {
		for _, metric := range []caller.Metric{caller.Requests, caller.Tokens, caller.InputTokens, caller.OutputTokens, caller.MicroDollars} {
			src := fmt.Sprintf("name: p\nbase_url: http://h\nkeys: [{id: a, secret: b}]\nlimits: [{metric: %s, rate: 1, period: 1s}]\n", metric)
			if name != "" {
				src += "provider: " + name + "\n"
			}
			models := !slices.Contains([]string{"generic", "github", "ietf", ""}, name)
			counted := metric == caller.Requests || models && metric != caller.MicroDollars
			_, err := parse(src)
			small := err != nil && strings.Contains(err.Error(), "no request could ever meet it: the smallest costs")
			if unknown := err != nil && strings.Contains(err.Error(), "has no estimate of"); unknown == counted || (err != nil) != (unknown || small) {
				t.Errorf("%s with provider %q: got %v, want an error: %v", metric, name, err, !counted)
			}
		}
	}
}

// No message shows a secret, in whatever place of the file it stands, as text or by variable.
func TestParse_NeverShowsASecret(t *testing.T) {
	for _, secret := range []string{canary, "${KEY_1}", `"` + canary, "'" + canary, "@" + canary, "!!int " + canary,
		"&" + canary, "*" + canary, "[" + canary, "{" + canary, canary + ": b", "|\n  " + canary + "\n b", "\"\\q" + canary + "\"",
		"%" + canary, canary + "\n  x: y", "? " + canary} {
		for i, line := range strings.Split(strings.TrimSpace(whole), "\n") {
			name, _, _ := strings.Cut(line, ":")
			for _, changed := range []string{name + ": " + secret, name + ":" + secret, name + " " + secret, secret + ": 1", secret} {
				lines := strings.Split(whole, "\n")
				lines[i] = changed
				if _, err := parse(strings.Join(lines, "\n")); err != nil && strings.Contains(fmt.Sprintf("%v %+v", err, err), "canary") {
					t.Errorf("line %q: got %v, want no secret in it", changed, err)
				}
			}
		}
	}
}

// Names that Redis and metrics contain must not contain a secret.
func TestParse_RefusesSecretsInPublicNames(t *testing.T) {
	const keys = "name: a\nbase_url: http://h\nkeys: [{id: a, secret: \"${KEY_1}\"}]\n"
	for _, src := range []string{
		keys + "tuning: {session_name: \"s-${KEY_1}\"}\n",
		keys + "limits: [{metric: \"${KEY_1}\", rate: 1, period: 1s}]\n",
		keys + "limits: [{metric: requests, rate: 1, period: 1s, models: [\"m-${KEY_1}*\"]}]\n",
		"name: a-${KEY_1}\nbase_url: http://h\nkeys: [{id: a, secret: \"${KEY_1}\"}]\n",
		"name: a\nbase_url: http://h/${KEY_1}\nkeys: [{id: a, secret: \"${KEY_1}\"}]\n",
		"name: a\nbase_url: http://h\nkeys: [{id: \"${KEY_1}\", secret: \"${KEY_1}\"}]\n",
		"name: a\nbase_url: http://h\nkeys: [{id: a, secret: \"${KEY_1}\"}, {id: b, secret: c, account: \"${KEY_1}\"}]\n",
	} {
		if _, err := parse(src); err == nil || !strings.Contains(err.Error(), "the secret is part of") {
			t.Errorf("%q: got %v, want an error about the secret", src, err)
		}
	}
}
