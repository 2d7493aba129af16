package config

import (
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/retry"
)

func (r *reader) provider(p *Pool) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		r.choice(&p.Provider, "generic", "openai")(n, path)
		p.Caller.Profile = caller.Profile{Name: p.Provider}
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
