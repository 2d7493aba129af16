package config

import (
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// maxMerges bounds how deep merge keys nest, because an anchor can contain an alias of itself.
const maxMerges = 8

// anchors resolves the aliases of a document.
type anchors struct {
	named  map[string]*ast.AnchorNode // the latest definition of each name
	target map[*ast.AliasNode]*ast.AnchorNode
}

// newAnchors finds the anchor of every alias in a document. An alias stands for the nearest definition above it.
func newAnchors(body ast.Node) *anchors {
	a := &anchors{named: make(map[string]*ast.AnchorNode), target: make(map[*ast.AliasNode]*ast.AnchorNode)}
	ast.Walk(a, body)
	return a
}

// Visit notes an anchor or an alias. It implements ast.Visitor.
func (a *anchors) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.AnchorNode:
		a.named[tokenText(n.Name)] = n
	case *ast.AliasNode:
		if found, ok := a.named[tokenText(n.Value)]; ok {
			a.target[n] = found
		}
	}
	return a
}

// serves reports whether an alias stands for the node, which is then an anchor.
func (a *anchors) serves(n ast.Node) bool {
	for _, target := range a.target {
		if target == n {
			return true
		}
	}
	return false
}

func tokenText(n ast.Node) string {
	if n == nil || n.GetToken() == nil {
		return ""
	}
	return n.GetToken().Value
}

// resolve returns the node that an alias or an anchor stands for, and any other node as it is. It is nil after a problem.
func (r *reader) resolve(n ast.Node, path string) ast.Node {
	for range maxMerges {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			target, ok := r.anchors.target[v]
			if !ok {
				r.problemf(n, path, "an alias without an anchor above it; define the anchor first, or write the value out")
				return nil
			}
			n = target.Value
		case *ast.TagNode:
			r.problemf(n, path, "tags aren't supported; write the value without one, and ${NAME} for an environment variable")
			return nil
		default:
			return n
		}
	}
	r.problemf(n, path, "aliases that stand for each other; write the value out")
	return nil
}

// entry is one field of a mapping of the file.
type entry struct {
	key   ast.Node
	name  string
	value ast.Node
}

// entries returns the fields of a mapping. Fields of merge keys come last, and only where the mapping, or a merge key
// before, has no field of that name.
func (r *reader) entries(m ast.MapNode, path string, depth int) []entry {
	var own, merged []entry
	for it := m.MapRange(); it.Next(); {
		e := entry{it.KeyValue().Key, it.KeyValue().Key.GetToken().Value, it.Value()}
		if _, ok := e.key.(*ast.MergeKeyNode); !ok {
			own = append(own, e)
			continue
		}
		if depth == maxMerges {
			r.problemf(e.key, path, "merge keys nest more than %d deep; write the fields out", maxMerges)
			continue
		}
		merged = append(merged, r.mergedEntries(e.value, path, depth)...)
	}
	for _, e := range merged {
		if !slices.ContainsFunc(own, func(o entry) bool { return o.name == e.name }) {
			own = append(own, e)
		}
	}
	return own
}

// mergedEntries returns the fields that the value of a merge key brings in: a mapping, or a list of mappings.
func (r *reader) mergedEntries(n ast.Node, path string, depth int) []entry {
	before := len(r.problems)
	switch v := r.resolve(n, path).(type) {
	case ast.MapNode:
		return r.entries(v, path, depth+1)
	case *ast.SequenceNode:
		var all []entry
		for _, item := range v.Values {
			if m, ok := r.resolve(item, path).(ast.MapNode); ok {
				all = append(all, r.entries(m, path, depth+1)...)
			}
		}
		return all
	}
	if len(r.problems) == before {
		r.problemf(n, path, "a merge key takes a mapping, such as <<: *defaults")
	}
	return nil
}
