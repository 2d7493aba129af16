package config

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/caller"
)

// accountDraft is an account while it is read.
type accountDraft struct {
	id                  string
	base                *url.URL
	query, header       map[string]string
	models              map[string]string
	limits              []limitAt
	concurrency, weight int64
}

func (r *reader) accountFields(d *accountDraft) map[string]field {
	return map[string]field{
		"id":       required(r.text(&d.id), "The account's public name. Keys name it in account."),
		"base_url": optional(r.baseURL(&d.base), "Where the account's calls are sent. Default: the pool's base_url."),
		"query":    optional(r.texted(&d.query), "Parameters of each URL, in place of those of the same names. Default: none."),
		"header":   optional(r.texted(&d.header), "Headers of each request, in place of those of the same names. Default: none."),
		"models": optional(r.models(&d.models), "The models that the account has, as a list, or as a mapping to the name that each has "+
			"there; * stands for any text. Default: every model."),
		"limits": optional(r.limits(&d.limits),
			"Limits of this account alone. Each takes the place of the pool's on the same metric, period, scope and models. Default: none."),
		"concurrency": optional(r.count(&d.concurrency, math.MaxInt32, ""),
			"Calls in flight of the account, over all processes. Default: the pool's concurrency."),
		"weight": optional(r.count(&d.weight, maxWeight, ""),
			"The account's share where strategy uses weights. Default: the highest weight of its keys."),
	}
}

// accounts reads what differs from account to account.
func (r *reader) accounts(dst *[]accountDraft) kind {
	read := func(n ast.Node, path string) {
		ids := make(map[string]bool)
		r.sequence(n, path, func(n ast.Node, path string) {
			var d accountDraft
			r.mapping(n, path, r.accountFields(&d))
			if d.id != "" && ids[d.id] {
				r.problemf(n, path, "another account has this id; give each its own")
			}
			ids[d.id] = true
			for _, l := range d.limits {
				if l.Scope == caller.PerPool {
					r.problemf(l.node, l.path, "a limit of scope pool isn't an account's; move it to the pool's limits")
				}
			}
			*dst = append(*dst, d)
		})
		r.notEmpty(n, path, "name at least one, or leave the field out")
	}
	return kind{read, listJSON(mappingJSON(r.accountFields(new(accountDraft))))}
}

// texted reads a mapping from names to single values.
func (r *reader) texted(dst *map[string]string) kind {
	read := func(n ast.Node, path string) {
		v := r.resolve(n, path)
		if v == nil {
			return
		}
		m, ok := v.(ast.MapNode)
		if !ok {
			r.problemf(n, path, "must be a mapping from names to values")
			return
		}
		*dst = make(map[string]string)
		for _, e := range r.entries(m, path, 0) {
			s, ok := r.scalar(e.value, path)
			switch {
			case !ok:
			case strings.ContainsAny(s, "\r\n"):
				r.problemf(e.value, path, "has a line break in it; take it out")
			default:
				(*dst)[e.name] = s
			}
		}
	}
	return kind{read, object{"type": "object", "additionalProperties": object{"type": []string{"string", "number", "boolean"}}}}
}

// models reads a list of models, or a mapping from models to their names in the account.
func (r *reader) models(dst *map[string]string) kind {
	names := r.texted(dst)
	var list []string
	texts := r.texts(&list)
	read := func(n ast.Node, path string) {
		if _, ok := r.quiet().resolve(n, path).(*ast.SequenceNode); !ok {
			names.read(n, path)
			return
		}
		texts.read(n, path)
		*dst = make(map[string]string)
		for _, name := range list {
			(*dst)[name] = ""
		}
	}
	return kind{read, object{"anyOf": []object{texts.json, names.json}}}
}

// setAccounts checks the accounts together with the keys, and adds them to the pool.
func (r *reader) setAccounts(n ast.Node, p *Pool, accounts []accountDraft) {
	if len(accounts) == 0 {
		return
	}
	if p.BaseURL != nil {
		p.Caller.BaseURL = p.BaseURL.String()
	}
	for i := range accounts {
		d := &accounts[i]
		named := func(k caller.Key) bool { return k.Account == d.id || k.Account == "" && k.ID == d.id }
		if d.id != "" && !slices.ContainsFunc(p.Caller.Keys, named) {
			r.problemf(n, fmt.Sprintf("accounts[%d]", i), "no key has this account; name it in a key's account")
		}
		a := caller.Account{
			ID: d.id, BaseURL: p.Caller.BaseURL, Models: d.models, Concurrency: int(d.concurrency), Weight: int(d.weight),
		}
		if d.base != nil {
			a.BaseURL = d.base.String()
		}
		for name, value := range d.query {
			if a.Query == nil {
				a.Query = url.Values{}
			}
			a.Query.Set(name, value)
		}
		for name, value := range d.header {
			if a.Header == nil {
				a.Header = http.Header{}
			}
			a.Header.Set(name, value)
		}
		for _, l := range d.limits {
			a.Limits = append(a.Limits, l.Limit)
		}
		r.checkEstimates(p, d.limits)
		r.checkBuckets(p, d.limits)
		p.Caller.Accounts = append(p.Caller.Accounts, a)
	}
}
