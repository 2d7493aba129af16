package config

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// text reads a value that must not be empty.
func (r *reader) text(dst *string) kind {
	read := func(n ast.Node, path string) {
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
	return kind{read, textJSON()}
}

// choice reads one of the given words.
func (r *reader) choice(dst *string, words ...string) kind {
	read := func(n ast.Node, path string) {
		s, ok := r.scalar(n, path)
		switch now := renamedWords[s]; {
		case !ok:
		case slices.Contains(words, s):
			*dst = s
		case slices.Contains(words, now):
			r.problemf(n, path, "%s is now %s; rename it", s, now)
		default:
			r.problemf(n, path, "must be one of %s", strings.Join(words, ", "))
		}
	}
	return kind{read, choiceJSON(words)}
}

// boolean reads true or false.
func (r *reader) boolean(dst *bool) kind {
	var word string
	words := r.choice(&word, "true", "false")
	read := func(n ast.Node, path string) {
		words.read(n, path)
		*dst = word == "true"
	}
	return kind{read, boolJSON()}
}

// count reads a whole number from 1 to high. Digits may be set apart by underscores.
func (r *reader) count(dst *int64, high int64, hint string) kind {
	read := func(n ast.Node, path string) {
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
	return kind{read, countJSON(high)}
}

// number reads a number from low to high.
func (r *reader) number(dst *float64, low, high float64) kind {
	read := func(n ast.Node, path string) {
		s, ok := r.scalar(n, path)
		if !ok {
			return
		}
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(v) || v < low || v > high {
			r.problemf(n, path, "must be a number from %v to %v", low, high)
			return
		}
		*dst = v
	}
	return kind{read, numberJSON(low, high)}
}

// duration reads a time from low to high.
func (r *reader) duration(dst *time.Duration, low, high time.Duration) kind {
	read := func(n ast.Node, path string) {
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
	return kind{read, durationJSON()}
}

// clock reads a time of day, as the time after midnight.
func (r *reader) clock(dst *time.Duration) kind {
	read := func(n ast.Node, path string) {
		s, ok := r.scalar(n, path)
		if !ok {
			return
		}
		at, err := time.Parse(time.TimeOnly, s)
		if err != nil {
			at, err = time.Parse("15:04", s)
		}
		if err != nil || len(s) < len("15:04") {
			r.problemf(n, path, `must be a time of day from 00:00 to 23:59, such as "07:30"`)
			return
		}
		*dst = time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute +
			time.Duration(at.Second())*time.Second
	}
	return kind{read, clockJSON()}
}

// zone reads the name of a time zone of the IANA database.
func (r *reader) zone(dst **time.Location) kind {
	var name string
	text := r.text(&name)
	read := func(n ast.Node, path string) {
		if text.read(n, path); name == "" {
			return
		}
		zone, err := time.LoadLocation(name)
		switch {
		case name == "Local":
			r.problemf(n, path, "Local differs from machine to machine; name the provider's zone, such as America/Los_Angeles")
		case err != nil: // err quotes the value, so the message leaves it out
			r.problemf(n, path, "no such time zone here; use a name of the IANA database, such as America/Los_Angeles, "+
				`and see that the machine has that database (package tzdata) or the program imports _ "time/tzdata"`)
		default:
			*dst = zone
		}
	}
	return kind{read, text.json}
}

// texts reads a list of at least one text.
func (r *reader) texts(dst *[]string) kind {
	read := func(n ast.Node, path string) {
		r.sequence(n, path, func(n ast.Node, path string) {
			var s string
			r.text(&s).read(n, path)
			*dst = append(*dst, s)
		})
		r.notEmpty(n, path, "name at least one, or leave the field out")
	}
	return kind{read, listJSON(textJSON())}
}

// notEmpty reports a list without items.
func (r *reader) notEmpty(n ast.Node, path, hint string) {
	if s, ok := r.quiet().resolve(n, path).(*ast.SequenceNode); ok && len(s.Values) == 0 {
		r.problemf(n, path, "is empty; %s", hint)
	}
}
