package config

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/provider"
)

const maxPeriod = 366 * 24 * time.Hour

// A draft is a pool while it is read.
type draft struct {
	Pool

	limits                  []limitAt
	concurrency, maxWaiting int64
	failures                int64 // of the breaker
	strategy                string
}

func (r *reader) poolFields(d *draft) map[string]field {
	c := &d.Caller
	return map[string]field{
		"pool":     required(r.text(&c.Name), "Processes with the same pool and Redis share the quota."),
		"base_url": required(r.baseURL(&d.BaseURL), "Scheme, host and, where there is one, a path that every call starts with."),
		"provider": optional(r.provider(&d.Pool), "Which provider's requests and answers these are. Default: generic."),
		"keys":     required(r.keys(&c.Keys), "The API keys; at least one."),
		"limits":   optional(r.limits(&d.limits), "What the provider allows. Default: none."),
		"concurrency": optional(r.count(&d.concurrency, math.MaxInt32, "; leave it out for no limit"),
			"Calls in flight per account, over all processes. Default: no limit."),
		"adaptive": optional(r.adaptive(&c.Adaptive),
			"Makes the calls in flight follow what calls meet, up to concurrency. Default: off."),
		"strategy": optional(r.choice(&d.strategy, string(caller.LeastLoaded), string(caller.RoundRobin), string(caller.FirstAvailable)),
			"Which account that can serve a call now gets it: the one with most headroom, each in turn, or the first in order. "+
				"Default: headroom."),
		"timeout": optional(r.duration(&c.Timeout, time.Millisecond, maxPeriod),
			"Bounds a call as a whole, waits and attempts together. Default: no bound."),
		"attempt_timeout": optional(r.duration(&c.AttemptTimeout, time.Millisecond, maxPeriod),
			"Bounds each attempt, from sending until its answer is there. Default: no bound."),
		"idempotency_keys": optional(r.yes(&c.IdempotencyKeys),
			"Every call gets an idempotency key of its own, for providers that heed it. Default: false."),
		"breaker": optional(r.breaker(&d.failures, &c.Breaker.OpenFor),
			"Keeps calls of a process from a key and endpoint that fail again and again. Default: off."),
		"hedge": optional(r.hedge(&c.Hedge), "Sends a second request where the first is slow. Default: off."),
		"retry": optional(r.retry(&c.Retry), "Attempts of a call, and the time between them."),
		"slack": optional(r.duration(&c.Tuning.ArrivalJitter, time.Millisecond, time.Hour),
			"How much longer than another one call may take to the provider. Default: 100ms."),
		"horizon": optional(r.duration(&c.Tuning.Horizon, time.Millisecond, time.Hour),
			"How far ahead urgent calls may be booked. Default: 200ms."),
		"aging": optional(r.duration(&c.Tuning.Aging, time.Millisecond, maxPeriod),
			"How long a call waits until it counts as one of the next higher priority. Default: 30s."),
		"max_waiting": optional(r.count(&d.maxWaiting, math.MaxInt32, ""), "Calls of a process that may wait. Default: 100000."),
		"ttl": optional(r.duration(&c.Tuning.SessionTTL, time.Second, time.Hour),
			"How long the permits of a process that died stay taken. Default: 10s."),
		"outlive_lease": optional(r.yes(&c.Tuning.ContinueOnLeaseLoss),
			"Calls in flight go on where Redis couldn't be told of them for a ttl, though others may get their permits. "+
				"Default: false."),
		"session": optional(r.text(&c.Tuning.SessionName),
			"Names the process to whoever looks at the pool. Default: host name and process number."),
		"plain_errors": optional(r.yes(&d.Transport.ReturnErrors),
			"The transport returns an error, not an answer of its own, where the provider gave none. Default: false."),
	}
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
	r.unmet(p, d.limits)
	r.late(p, d.limits)
	r.unfit(n, p)
	r.noSecretIn(n, p)
	return p
}

// noSecretIn complains of a secret in one of the names that stand in Redis, in metrics and in messages.
func (r *reader) noSecretIn(n ast.Node, p *Pool) {
	public := []string{p.Caller.Name, p.Caller.Tuning.SessionName}
	if p.BaseURL != nil {
		public = append(public, p.BaseURL.String())
	}
	for _, k := range p.Caller.Keys {
		public = append(public, k.ID, k.Account)
	}
	for _, l := range p.Caller.Limits {
		public = append(append(public, string(l.Metric)), l.Models...)
	}
	for i, k := range p.Caller.Keys {
		// A secret of a few letters may stand in a name by chance.
		shows := func(name string) bool {
			secret := k.Secret.Reveal()
			return name == secret || len(secret) >= 8 && strings.Contains(name, secret)
		}
		if !k.Secret.IsZero() && slices.ContainsFunc(public, shows) {
			r.problemf(n, fmt.Sprintf("keys[%d].secret", i), "the secret stands in pool, base_url, session, an id, an account, "+
				"a metric or a model; those are public, so choose another name")
		}
	}
}

func (r *reader) baseURL(dst **url.URL) kind {
	var s string
	text := r.text(&s)
	read := func(n ast.Node, path string) {
		if text.read(n, path); s == "" {
			return
		}
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			r.problemf(n, path, "must be a full URL, such as https://api.openai.com")
		case u.User != nil || u.RawQuery != "" || u.Fragment != "":
			r.problemf(n, path, "must have no user, query or fragment; the API key belongs in keys")
		default:
			u.Path = strings.TrimRight(u.Path, "/")
			u.RawPath = ""
			*dst = u
		}
	}
	return kind{read, orVariable(object{"type": "string", "pattern": `^[Hh][Tt][Tt][Pp][Ss]?://`})}
}

func (r *reader) keys(dst *[]caller.Key) kind {
	read := func(n ast.Node, path string) {
		ids, secrets := make(map[string]bool), make(map[string]bool)
		r.sequence(n, path, func(n ast.Node, path string) {
			k := r.key(n, path)
			if k.ID != "" && ids[k.ID] {
				r.problemf(n, path, "another key has this id; give each its own")
			}
			if !k.Secret.IsZero() && secrets[k.Secret.Reveal()] {
				r.problemf(n, path, "another key has this secret; the provider would count both as one, so keep only one")
			}
			ids[k.ID], secrets[k.Secret.Reveal()] = true, true
			*dst = append(*dst, k)
		})
		r.notEmpty(n, path, "at least one key is required")
	}
	return kind{read, listJSON(mappingJSON(r.keyFields(new(keyDraft))))}
}

// A keyDraft is a key while it is read.
type keyDraft struct {
	id, secret, account string
	weight              int64
}

const maxWeight = 1_000_000

func (r *reader) keyFields(d *keyDraft) map[string]field {
	return map[string]field{
		"id":      required(r.text(&d.id), "The key's public name in Redis, metrics and messages."),
		"secret":  required(r.text(&d.secret), "What the provider knows the key by; from the environment: ${NAME}."),
		"account": optional(r.text(&d.account), "Keys of one account share its limits. Default: the key itself."),
		"weight": optional(r.count(&d.weight, maxWeight, ""),
			"The key's part where strategy goes by weights; an account has the highest of its keys'. Default: 1."),
	}
}

func (r *reader) key(n ast.Node, path string) caller.Key {
	var d keyDraft
	r.mapping(n, path, r.keyFields(&d))
	return caller.Key{ID: d.id, Secret: caller.NewSecret(d.secret), Account: d.account, Weight: int(d.weight)}
}
