package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/provider"
)

const maxPeriod = 366 * 24 * time.Hour

// draft is a pool while it is read.
type draft struct {
	Pool

	limits                  []limitAt
	accounts                []accountDraft
	concurrency, maxWaiting int64
	failures                int64 // FailureThreshold of the breaker
	strategy                string
}

func (r *reader) poolFields(d *draft) map[string]field {
	c := &d.Caller
	return map[string]field{
		"name":     required(r.text(&c.Name), "Names the shared state in Redis. Processes with the same name and Redis share the quota."),
		"base_url": required(r.baseURL(&d.BaseURL), "Where the provider's API begins: scheme, host, and a path and a query where there are any."),
		"provider": optional(r.provider(&d.Pool), "The provider whose requests and responses these are. Default: generic."),
		"keys":     required(r.keys(&c.Keys), "The API keys, at least one."),
		"accounts": optional(r.accounts(&d.accounts),
			"What differs from account to account: places, models, limits. Their order is that of strategy first_available. Default: none."),
		"limits": optional(r.limits(&d.limits), "What the provider allows. Default: none."),
		"concurrency": optional(r.count(&d.concurrency, math.MaxInt32, "; leave it out for no limit"),
			"Calls in flight per account, over all processes. Default: no limit."),
		"ramp_up": optional(r.duration(&c.RampUp, time.Millisecond, maxPeriod),
			"The time from the pool's first call until its limits run at their whole pace, 1ms to 8784h. Default: at once."),
		"tenants": optional(r.tenants(&c.Tenants),
			"Who shares the pool by weight inside the service. Default: calls are served by priority and arrival alone."),
		"adaptive": optional(r.adaptive(&c.Adaptive),
			"Adapts the calls in flight to the results of calls, up to concurrency. Default: off."),
		"strategy": optional(r.choice(&d.strategy, string(caller.LeastLoaded), string(caller.RoundRobin), string(caller.FirstAvailable)),
			"Which of the accounts that can serve a call now gets it: the one ready for longest, each in turn, or the first in the "+
				"order of keys. Default: least_loaded."),
		"timeout": optional(r.duration(&c.Timeout, time.Millisecond, maxPeriod),
			"Bounds a call as a whole, waits and attempts together, 1ms to 8784h. Default: see caller.Config."),
		"attempt_timeout": optional(r.duration(&c.AttemptTimeout, time.Millisecond, maxPeriod),
			"Bounds one attempt, from sending until the response's headers, 1ms to 8784h. Default: no bound."),
		"idle_timeout": optional(r.duration(&c.IdleTimeout, time.Millisecond, maxPeriod),
			"The longest time without a byte of a response's body, while it is read, 1ms to 8784h. Default: 2m."),
		"ignore_keep_alives": optional(r.boolean(&c.IgnoreKeepAlives),
			"Counts comments and blank lines of a stream as silence, for idle_timeout. Default: false."),
		"max_hold": optional(r.duration(&c.MaxHold, time.Millisecond, maxPeriod),
			"The longest time from sending a request to the end of its response's body, 1ms to 8784h. Default: no bound."),
		"whole": optional(r.boolean(&c.Whole),
			"Reads each response whole before it is returned, so that one that is cut, stalls or is empty is tried again. Default: false."),
		"idempotency_keys": optional(r.boolean(&c.IdempotencyKeys),
			"Sends an idempotency key with each call, for providers that honour the header Idempotency-Key. Default: false."),
		"shadow": optional(r.boolean(&c.Shadow),
			"Sends every call at once and reports what the limits would have done with it, in a pool called name.shadow. Default: false."),
		"breaker": optional(r.breaker(&d.failures, &c.Breaker.OpenFor),
			"Circuit breaker of each key and endpoint, in each process. Default: off."),
		"hedge":     optional(r.hedge(&c.Hedge), "Sends a second request where the first is slow. Default: off."),
		"retry":     optional(r.retry(&c.Retry), "Attempts of a call, and the time between them."),
		"tuning":    optional(r.tuning(&c.Tuning, &d.maxWaiting), "What the defaults fit in nearly all cases."),
		"transport": optional(r.transport(&d.Transport), "How the http.RoundTripper answers."),
	}
}

func (r *reader) tuningFields(t *caller.Tuning, maxWaiting *int64) map[string]field {
	return map[string]field{
		"arrival_jitter": optional(r.duration(&t.ArrivalJitter, time.Millisecond, time.Hour),
			"How much longer than another one call may take from its admission to the provider, 1ms to 1h. Default: 100ms."),
		"horizon": optional(r.duration(&t.Horizon, time.Millisecond, time.Hour),
			"How far ahead of now a call of high priority may be booked, 1ms to 1h. Default: 200ms."),
		"max_rejection": optional(r.duration(&t.MaxRejection, time.Second, maxPeriod),
			"The longest time for which a key that the provider rejects isn't used, 1s to 8784h. Default: 1h."),
		"aging": optional(r.duration(&t.Aging, time.Millisecond, maxPeriod),
			"The time after which a waiting call moves up one priority, 1ms to 8784h. Default: 30s."),
		"max_waiting": optional(r.count(maxWaiting, math.MaxInt32, ""), "Calls of a process that may wait for admission. Default: 100000."),
		"session_ttl": optional(r.duration(&t.SessionTTL, time.Second, time.Hour),
			"The time for which the permits of a process that died stay taken, 1s to 1h. Default: 10s."),
		"session_name": optional(r.text(&t.SessionName), "Names the process in caller.Pool.Inspect. Default: host name and process number."),
		"continue_on_lease_loss": optional(r.boolean(&t.ContinueOnLeaseLoss),
			"Calls in flight go on after Redis could not be reached for session_ttl, so concurrency can be exceeded. Default: false."),
	}
}

func (r *reader) tuning(t *caller.Tuning, maxWaiting *int64) kind {
	return r.group(r.tuningFields(t, maxWaiting))
}

func (r *reader) transportFields(t *caller.TransportConfig) map[string]field {
	return map[string]field{
		"max_buffered": optional(r.count(&t.MaxBuffered, math.MaxInt32, ""),
			"The longest request body that is read before the request is sent, in bytes. Default: 4194304."),
		"error_responses": optional(r.boolean(&t.ErrorResponses),
			"Returns a response that stands for the error of a call without a response of the provider. Default: false, the error."),
	}
}

func (r *reader) transport(t *caller.TransportConfig) kind { return r.group(r.transportFields(t)) }

// group reads a mapping whose fields need no check together.
func (r *reader) group(fields map[string]field) kind {
	read := func(n ast.Node, path string) { r.mapping(n, path, fields) }
	return kind{read, mappingJSON(fields)}
}

// pool reads and checks the whole document.
func (r *reader) pool(n ast.Node) *Pool {
	generic := provider.Generic()
	d := &draft{Pool: Pool{Provider: generic.Name, Caller: caller.Config{Profile: generic}}}
	r.mapping(n, "", r.poolFields(d))
	p := &d.Pool
	p.Caller.Concurrency, p.Caller.Tuning.MaxWaiting = int(d.concurrency), int(d.maxWaiting)
	p.Caller.Breaker.FailureThreshold = int(d.failures)
	p.Caller.Strategy = caller.Strategy(d.strategy)
	for _, l := range d.limits {
		p.Caller.Limits = append(p.Caller.Limits, l.Limit)
	}
	r.checkEstimates(p, d.limits)
	r.checkBuckets(p, d.limits)
	r.setAccounts(n, p, d.accounts)
	r.checkAdaptive(n, p)
	r.checkSecrets(n, p)
	return p
}

// checkSecrets reports a secret in one of the names that Redis, metrics and messages contain.
func (r *reader) checkSecrets(n ast.Node, p *Pool) {
	public := []string{p.Caller.Name, p.Caller.Tuning.SessionName}
	if p.BaseURL != nil {
		public = append(public, p.BaseURL.String())
	}
	for _, a := range p.Caller.Accounts {
		public = append(public, a.ID, a.BaseURL)
	}
	for _, k := range p.Caller.Keys {
		public = append(public, k.ID, k.Account)
	}
	for _, l := range p.Caller.Limits {
		public = append(append(public, string(l.Metric)), l.Models...)
	}
	for i, k := range p.Caller.Keys {
		// A secret of a few letters can be part of a name by chance.
		shows := func(name string) bool {
			secret := k.Secret.Reveal()
			return name == secret || len(secret) >= 8 && strings.Contains(name, secret)
		}
		if !k.Secret.IsZero() && slices.ContainsFunc(public, shows) {
			r.problemf(n, fmt.Sprintf("keys[%d].secret", i), "the secret is part of name, base_url, session_name, an id, an account, "+
				"a metric or a model; those are public, so choose another name")
		}
	}
}
