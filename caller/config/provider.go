package config

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/retry"
)

func (r *reader) provider(p *Pool) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		name, ok := r.scalar(n, path)
		if !ok {
			return
		}
		profile, err := provider.ByName(name)
		if err != nil { // not shown, since it shows the value
			r.problemf(n, path, "unknown provider; use one of %s", strings.Join(provider.Names(), ", "))
			return
		}
		p.Provider, p.Caller.Profile = profile.Name, profile
	}
}

// smallest is about the smallest request there is, in the form that most providers of language models share.
const smallest = `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}]}`

// unmet complains of a limit on what the provider's requests don't have, which would never hold anything back, and of
// one that even the smallest request is above.
func (r *reader) unmet(p *Pool, limits []limitAt) {
	req := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/v1/chat/completions"}, Header: http.Header{}}
	cost := p.Caller.Profile.Estimate(req, []byte(smallest))
	for _, l := range limits {
		units, counted := cost[l.Metric]
		switch {
		case l.Metric == "" || l.Limit.Limit == 0: // complained of already
		case !counted && l.Metric != caller.Requests:
			r.problemf(l.node, l.path, "%s of a request aren't known before it is made with provider %s, so a limit on them "+
				"would never hold one back; take it out, or change provider", l.Metric, p.Provider)
		case units > l.Limit.Limit:
			r.problemf(l.node, l.path, "no request could ever meet it: the smallest costs %d %s", units, l.Metric)
		}
	}
}

func (r *reader) retry(dst *retry.Policy) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		var attempts int64
		before := len(r.problems)
		r.mapping(n, path, map[string]field{
			"attempts":    {r.count(&attempts, 100, "; 1 switches retrying off"), false},
			"base":        {r.duration(&dst.Base, time.Millisecond, time.Hour), false},
			"max":         {r.duration(&dst.Max, time.Millisecond, 24*time.Hour), false},
			"max_elapsed": {r.duration(&dst.MaxElapsed, time.Millisecond, maxPeriod), false},
		})
		dst.Attempts = int(attempts)
		if len(r.problems) == before && dst.Validate() != nil {
			r.problemf(n, path, "base must not be above max (defaults: %v, %v)", retry.DefaultBase, retry.DefaultMax)
		}
	}
}
