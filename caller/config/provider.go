package config

import (
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
		r.mapping(n, path, map[string]field{
			"attempts": {r.count(&attempts, 1, 100, ""), false},
		})
		_ = dst
	}
}
