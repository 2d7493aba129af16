package config

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/provider"
)

func (r *reader) provider(p *Pool) kind {
	read := func(n ast.Node, path string) {
		name, ok := r.scalar(n, path)
		if !ok {
			return
		}
		profile, err := provider.ByName(name)
		if err != nil { // err quotes the value, so the message leaves it out
			r.problemf(n, path, "unknown provider; use one of %s", strings.Join(provider.Names(), ", "))
			return
		}
		p.Provider, p.Caller.Profile = profile.Name, profile
	}
	return kind{read, orVariable(object{"enum": provider.Names()}, object{"type": "string", "pattern": anyCase(provider.Names())})}
}

// anyCase returns a pattern that matches the words in lower or upper case.
func anyCase(words []string) string {
	var b strings.Builder
	for _, c := range strings.Join(words, "|") {
		if c == '|' {
			b.WriteRune(c)
			continue
		}
		b.WriteString("[" + strings.ToUpper(string(c)) + string(c) + "]")
	}
	return "^(" + b.String() + ")$"
}

// smallest is about the smallest request that most providers of language models accept.
const smallest = `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}]}`

// checkEstimates reports a limit on a metric that the provider's requests have no estimate of, which would never delay a
// call, and a limit that is lower than the cost of the smallest request.
func (r *reader) checkEstimates(p *Pool, limits []limitAt) {
	req := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/v1/chat/completions"}, Header: http.Header{}}
	cost := p.Caller.Profile.Estimate(req, []byte(smallest))
	for _, l := range limits {
		units, counted := cost[l.Metric]
		switch {
		case l.Metric == "" || l.Rate == 0: // reported before
		case !slices.Contains(common(), l.Metric): // the program gives its cost
		case !counted && l.Metric != caller.Requests:
			r.problemf(l.node, l.path, "provider %[2]s has no estimate of a request's %[1]s, so a limit on them would never delay a "+
				"call; remove the limit, or change provider", l.Metric, p.Provider)
		case units > l.Rate:
			r.problemf(l.node, l.path, "no request could ever meet it: the smallest costs %d %s", units, l.Metric)
		}
	}
}
