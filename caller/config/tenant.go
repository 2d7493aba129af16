package config

import (
	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/caller"
)

func (r *reader) tenantFields(t *caller.Tenant) map[string]field {
	return map[string]field{
		"id": required(r.text(&t.ID), "The tenant's public name, which Options.Tenant gives."),
		"weight": optional(r.number(&t.Weight, 0.001, 1_000_000),
			"The tenant's share beside the weights of the others, 0.001 to 1000000. Default: 1."),
		"guaranteed": optional(r.number(&t.Guaranteed, 0, 0.99),
			"The share of the pool that the tenant gets whatever the weights are, 0 to 0.99; of all together less than 1. Default: 0."),
	}
}

// tenants reads who shares the pool.
func (r *reader) tenants(dst *[]caller.Tenant) kind {
	read := func(n ast.Node, path string) {
		ids, guaranteed := make(map[string]bool), 0.0
		r.sequence(n, path, func(n ast.Node, path string) {
			var t caller.Tenant
			r.mapping(n, path, r.tenantFields(&t))
			if t.ID != "" && ids[t.ID] {
				r.problemf(n, path, "another tenant has this id; give each its own")
			}
			ids[t.ID] = true
			guaranteed += t.Guaranteed
			*dst = append(*dst, t)
		})
		r.notEmpty(n, path, "name at least one, or leave the field out")
		if guaranteed >= 1 {
			r.problemf(n, path, "guaranteed of all tenants together must be less than 1")
		}
	}
	return kind{read, listJSON(mappingJSON(r.tenantFields(new(caller.Tenant))))}
}
