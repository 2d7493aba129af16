package config

import (
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

var (
	variable     = regexp.MustCompile(`\$?\$\{[^}]*\}?`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	publicName   = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)
)

// foreign are the spellings that other tools have for an environment variable. The first group is its name.
var foreign = []*regexp.Regexp{
	regexp.MustCompile(`^\$([A-Za-z_][A-Za-z0-9_]*)$`),
	regexp.MustCompile(`^\$\(([A-Za-z_][A-Za-z0-9_]*)\)$`),
	regexp.MustCompile(`^(?i)(?:os\.environ|process\.env|\$?env)[/.:]([A-Za-z_][A-Za-z0-9_]*)$`),
	regexp.MustCompile(`^(?i)(?:os\.environ|process\.env)(?:\.get)?[[(]["']([A-Za-z_][A-Za-z0-9_]*)["'][])]$`),
	regexp.MustCompile(`^%([A-Za-z_][A-Za-z0-9_]*)%$`),
	regexp.MustCompile(`^\$?\{\{.*?([A-Za-z_][A-Za-z0-9_]*)\W*\}\}$`),
}

// ours is the spelling of this package for the environment variable that a value names in another tool's spelling. It
// is empty for any other value. A name that isn't in capitals is left out, because it may be a secret.
func ours(value string) string {
	for _, f := range foreign {
		m := f.FindStringSubmatch(value)
		switch {
		case m == nil:
		case publicName.MatchString(m[1]):
			return "${" + m[1] + "}"
		default:
			return "${NAME}"
		}
	}
	return ""
}

// expand replaces ${NAME} by the environment's value and $${ by ${.
func (r *reader) expand(n ast.Node, path, s string) (string, bool) {
	if spelling := ours(s); spelling != "" {
		r.problemf(n, path, "names an environment variable in another tool's spelling; write %s", spelling)
		return "", false
	}
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
