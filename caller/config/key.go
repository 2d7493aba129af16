package config

import (
	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/caller"
)

const maxWeight = 1_000_000

// keyDraft is a key while it is read.
type keyDraft struct {
	id, secret, account string
	weight              int64
}

func (r *reader) keyFields(d *keyDraft) map[string]field {
	return map[string]field{
		"id":      required(r.text(&d.id), "The key's public name in Redis, metrics and messages."),
		"secret":  required(r.text(&d.secret), "The API key itself, from the environment: ${NAME}."),
		"account": optional(r.text(&d.account), "What the provider counts: keys of one account share its limits. Default: the id."),
		"weight": optional(r.count(&d.weight, maxWeight, ""),
			"The key's share where strategy uses weights. An account has the highest weight of its keys. Default: 1."),
	}
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

func (r *reader) key(n ast.Node, path string) caller.Key {
	var d keyDraft
	r.mapping(n, path, r.keyFields(&d))
	return caller.Key{ID: d.id, Secret: caller.NewSecret(d.secret), Account: d.account, Weight: int(d.weight)}
}
