package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// text reads a value that must not be empty.
func (r *reader) text(dst *string) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		s, ok := r.scalar(n, path)
		switch {
		case !ok:
		case s == "":
			r.problemf(n, path, "is empty; give it a value")
		case strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f }):
			r.problemf(n, path, "has a space, a line break or a control character in it; take it out")
		default:
			*dst = s
		}
	}
}

// given notes that a field is there.
func given(dst *bool, read func(ast.Node, string)) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		*dst = true
		read(n, path)
	}
}

// texts reads a list of values that must not be empty.
func (r *reader) texts(dst *[]string) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		r.sequence(n, path, func(n ast.Node, path string) {
			var s string
			if r.text(&s)(n, path); s != "" {
				*dst = append(*dst, s)
			}
		})
	}
}

// choice reads one of a few words.
func (r *reader) choice(dst *string, words ...string) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		s, ok := r.scalar(n, path)
		switch {
		case !ok:
		case !slices.Contains(words, s):
			r.problemf(n, path, "must be one of %s", strings.Join(words, ", "))
		default:
			*dst = s
		}
	}
}

// count reads a whole number from 1 to high. Digits may be set apart by underscores.
func (r *reader) count(dst *int64, high int64, hint string) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		s, ok := r.scalar(n, path)
		if !ok {
			return
		}
		v, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64)
		if err != nil || v < 1 || v > high {
			r.problemf(n, path, "must be a whole number from 1 to %d%s", high, hint)
			return
		}
		*dst = v
	}
}

// duration reads a time from low to high.
func (r *reader) duration(dst *time.Duration, low, high time.Duration) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		s, ok := r.scalar(n, path)
		if !ok {
			return
		}
		v, err := time.ParseDuration(s)
		if err != nil {
			r.problemf(n, path, "must be a time with its unit, such as 500ms, 60s, 1m or 24h")
			return
		}
		if v < low || v > high {
			r.problemf(n, path, "must be from %v to %v", low, high)
			return
		}
		*dst = v
	}
}

var variable = regexp.MustCompile(`\$?\$\{[^}]*\}?`)

// expand replaces ${NAME} by the environment's value and $${ by ${.
func (r *reader) expand(n ast.Node, path, s string) (string, bool) {
	ok := true
	out := variable.ReplaceAllStringFunc(s, func(m string) string {
		if strings.HasPrefix(m, "$$") {
			return m[1:]
		}
		name := strings.TrimSuffix(m[2:], "}")
		if !strings.HasSuffix(m, "}") || !variableName.MatchString(name) {
			r.problemf(n, path, "a ${ without the name of a variable and }; write ${NAME}, or $${ for a plain ${")
			ok = false
			return ""
		}
		v, set := r.lookup(name)
		if !set {
			r.problemf(n, path, "environment variable %s is not set; export it before the start", name)
			ok = false
		}
		return v
	})
	return out, ok
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
