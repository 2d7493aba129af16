package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A reader turns YAML nodes into values and gathers every problem on the way.
type reader struct {
	file     string
	lookup   func(string) (string, bool)
	problems []error
}

// A kind is how a value is read, and what the schema says of it.
type kind struct {
	read func(n ast.Node, path string)
	json object
}

// A field is one field of a mapping.
type field struct {
	kind
	about    string // for whoever edits the file
	required bool
}

func required(k kind, about string) field { return field{k, about, true} }

func optional(k kind, about string) field { return field{k, about, false} }

func (r *reader) at(n ast.Node, path, format string, args ...any) *Error {
	e := &Error{File: r.file, Field: path, Msg: fmt.Sprintf(format, args...)}
	if t := n.GetToken(); t != nil && t.Position != nil {
		e.Line, e.Column = t.Position.Line, t.Position.Column
	}
	return e
}

func (r *reader) problemf(n ast.Node, path, format string, args ...any) {
	r.problems = append(r.problems, r.at(n, path, format, args...))
}

// mapping reads the fields of a mapping, and complains of those that are unknown or missing.
func (r *reader) mapping(n ast.Node, path string, fields map[string]field) {
	m, ok := n.(ast.MapNode)
	if !ok {
		r.problemf(n, path, "must be a mapping with the fields %s", list(fields))
		return
	}
	seen := make(map[string]bool, len(fields))
	for it := m.MapRange(); it.Next(); {
		key := it.KeyValue().Key
		name := key.GetToken().Value
		f, ok := fields[name]
		if !ok {
			r.problemf(key, path, "unknown field%s; known here: %s", shown(name), list(fields))
			continue
		}
		seen[name] = true
		f.read(it.Value(), join(path, name))
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if fields[name].required && !seen[name] {
			r.problemf(n, path, "%s is missing; add it", name)
		}
	}
}

// has reports whether a mapping has a field.
func has(n ast.Node, name string) bool {
	m, ok := n.(ast.MapNode)
	if !ok {
		return false
	}
	for it := m.MapRange(); it.Next(); {
		if it.KeyValue().Key.GetToken().Value == name {
			return true
		}
	}
	return false
}

// sequence reads the items of a list.
func (r *reader) sequence(n ast.Node, path string, item func(n ast.Node, path string)) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		r.problemf(n, path, "must be a list: one item a line, each after a dash")
		return
	}
	for i, v := range s.Values {
		item(v, fmt.Sprintf("%s[%d]", path, i))
	}
}

// scalar returns a value's text with its variables replaced. It is the file's own text, not a number's or a boolean's
// meaning: a secret of digits keeps its leading zeros.
func (r *reader) scalar(n ast.Node, path string) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return r.expand(n, path, v.Value)
	case *ast.LiteralNode:
		return r.expand(n, path, v.Value.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	case *ast.NullNode:
		r.problemf(n, path, "is empty; give it a value or leave the field out")
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		r.problemf(n, path, "anchors, aliases and tags aren't supported; write the value out")
	default:
		r.problemf(n, path, "must be a single value")
	}
	return "", false
}

// withoutQuotes blanks what a message quotes from the source, unless it is a known kind of word: a name in lower case.
func withoutQuotes(msg string) string {
	return quoted.ReplaceAllStringFunc(msg, func(q string) string {
		if fieldName.MatchString(strings.Trim(q, `"`)) {
			return q
		}
		return `"…"`
	})
}

var (
	quoted    = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	fieldName = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
)

// shown is a field's name for a message, if it looks like one: a secret in its place is not shown.
func shown(name string) string {
	if len(name) > 24 || !fieldName.MatchString(name) {
		return ""
	}
	return fmt.Sprintf(" %q", name)
}

func list(fields map[string]field) string {
	return strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
