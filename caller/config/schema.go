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

// maxWeight is plenty for the proportion of two keys.
const maxWeight = 1_000_000

// pool reads and checks the whole document.
func (r *reader) pool(n ast.Node) *Pool {
	generic := provider.Generic()
	p := &Pool{Provider: generic.Name, Caller: caller.Config{Profile: generic}}
	var concurrency int64
	var strategy string
	var limits []limitAt
	r.mapping(n, "", map[string]field{
		"pool":        {r.text(&p.Caller.Pool), true},
		"base_url":    {r.baseURL(&p.BaseURL), true},
		"provider":    {r.provider(p), false},
		"keys":        {r.keys(&p.Caller.Keys), true},
		"limits":      {r.limits(&limits), false},
		"concurrency": {r.count(&concurrency, math.MaxInt32, "; leave it out for no limit"), false},
		"strategy": {r.choice(&strategy, string(caller.Headroom), string(caller.RoundRobin),
			string(caller.InOrder)), false},
		"retry": {r.retry(&p.Caller.Retry), false},
		"slack": {r.duration(&p.Caller.Slack, time.Millisecond, time.Hour), false},
		"ttl":   {r.duration(&p.Caller.TTL, time.Second, time.Hour), false},
	})
	p.Caller.Concurrency, p.Caller.Strategy = int(concurrency), caller.Strategy(strategy)
	for _, l := range limits {
		p.Caller.Limits = append(p.Caller.Limits, l.Limit)
	}
	r.unmet(p, limits)
	r.noSecretIn(n, p)
	return p
}

// noSecretIn complains of a secret in one of the names that stand in Redis, in metrics and in messages.
func (r *reader) noSecretIn(n ast.Node, p *Pool) {
	public := []string{p.Caller.Pool}
	if p.BaseURL != nil {
		public = append(public, p.BaseURL.String())
	}
	for _, k := range p.Caller.Keys {
		public = append(public, k.ID, k.Account)
	}
	for i, k := range p.Caller.Keys {
		// A secret of a few letters may stand in a name by chance.
		shows := func(name string) bool {
			secret := k.Secret.Reveal()
			return name == secret || len(secret) >= 8 && strings.Contains(name, secret)
		}
		if !k.Secret.IsZero() && slices.ContainsFunc(public, shows) {
			r.problemf(n, fmt.Sprintf("keys[%d].secret", i), "the secret stands in pool, base_url, an id or an account; "+
				"those are public, so choose another name")
		}
	}
}

func (r *reader) baseURL(dst **url.URL) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		var s string
		if r.text(&s)(n, path); s == "" {
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
}

func (r *reader) keys(dst *[]caller.Key) func(ast.Node, string) {
	return func(n ast.Node, path string) {
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
		if s, ok := n.(*ast.SequenceNode); ok && len(s.Values) == 0 {
			r.problemf(n, path, "is empty; at least one key is required")
		}
	}
}

func (r *reader) key(n ast.Node, path string) caller.Key {
	var id, secret, account string
	var weight int64
	r.mapping(n, path, map[string]field{
		"id":      {r.text(&id), true},
		"secret":  {r.text(&secret), true},
		"account": {r.text(&account), false},
		"weight":  {r.count(&weight, maxWeight, ""), false},
	})
	return caller.Key{ID: id, Secret: caller.NewSecret(secret), Account: account, Weight: int(weight)}
}
