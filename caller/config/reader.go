package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// reader turns YAML nodes into values and collects every problem.
type reader struct {
	file     string
	lookup   func(string) (string, bool)
	anchors  *anchors
	problems []error
}

// kind is how a value is read, and its JSON Schema.
type kind struct {
	read func(n ast.Node, path string)
	json object
}

// field is one field of a mapping.
type field struct {
	kind
	about    string // description in the schema
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

// mapping reads the fields of a mapping, and reports unknown, renamed and missing fields.
func (r *reader) mapping(n ast.Node, path string, fields map[string]field) {
	v := r.resolve(n, path)
	if v == nil {
		return
	}
	m, ok := v.(ast.MapNode)
	if !ok {
		r.problemf(n, path, "must be a mapping with the fields %s", list(fields))
		return
	}
	seen := make(map[string]bool, len(fields))
	for _, e := range r.entries(m, path, 0) {
		if f, ok := fields[e.name]; ok {
			seen[e.name] = true
			f.read(e.value, join(path, e.name))
			continue
		}
		if now, ok := newName(path, e.name); ok {
			what := map[bool]string{true: "rename it", false: "move it there"}[sibling(now)]
			if negated[e.name] {
				what += " with the opposite value"
			}
			r.problemf(e.key, path, "%s is now %s; %s", e.name, now, what)
			seen[now] = true
			continue
		}
		if path == "" && r.holdsAnchor(e, fields) {
			continue
		}
		r.problemf(e.key, path, "unknown field%s; known here: %s", shown(e.name), list(fields))
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if fields[name].required && !seen[name] {
			r.problemf(n, path, "%s is missing; add it", name)
		}
	}
}

// holdsAnchor reports whether an unknown field of the document only defines what aliases use. A field whose name is
// nearly a known one is a mistake, not such a field.
func (r *reader) holdsAnchor(e entry, fields map[string]field) bool {
	for name := range fields {
		if distance(e.name, name) <= maxTypo {
			return false
		}
	}
	return r.anchors.serves(e.value) || spare.MatchString(e.name)
}

// spare matches the names that the schema, too, accepts for fields that only hold anchors.
var spare = regexp.MustCompile(`^(x-.*|defaults)$`)

// has reports whether a mapping has a field.
func (r *reader) has(n ast.Node, name string) bool {
	quiet := r.quiet()
	m, ok := quiet.resolve(n, "").(ast.MapNode)
	return ok && slices.ContainsFunc(quiet.entries(m, "", 0), func(e entry) bool { return e.name == name })
}

// quiet returns a reader of the same document whose problems are dropped, for a node that was read before.
func (r *reader) quiet() *reader { return &reader{anchors: r.anchors} }

// sequence reads the items of a list.
func (r *reader) sequence(n ast.Node, path string, item func(n ast.Node, path string)) {
	v := r.resolve(n, path)
	if v == nil {
		return
	}
	s, ok := v.(*ast.SequenceNode)
	if !ok {
		r.problemf(n, path, "must be a list: one item a line, each after a dash")
		return
	}
	for i, v := range s.Values {
		item(v, fmt.Sprintf("%s[%d]", path, i))
	}
}

// scalar returns a value's text with its variables replaced. It is the text in the file, not what YAML makes of a number
// or a boolean, so a secret of digits keeps its leading zeros.
func (r *reader) scalar(n ast.Node, path string) (string, bool) {
	switch v := r.resolve(n, path).(type) {
	case nil:
	case *ast.StringNode:
		return r.expand(n, path, v.Value)
	case *ast.LiteralNode:
		return r.expand(n, path, v.Value.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return v.GetToken().Value, true
	case *ast.NullNode:
		r.problemf(n, path, "is empty; give it a value or leave the field out")
	default:
		r.problemf(n, path, "must be a single value")
	}
	return "", false
}

// withoutQuotes replaces what a message quotes from the source, except names in lower case.
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

// shown is a field's name for a message if it has the form of one. A secret in its place is not shown.
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
