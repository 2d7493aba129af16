package config

import (
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

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
