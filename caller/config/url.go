package config

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

var (
	// version matches the first segment of a path where it is an API version, such as v1 or v1beta.
	version = regexp.MustCompile(`^v[0-9]+[a-z0-9]*$`)
	// shellName matches a shell's spelling of a variable inside a longer text.
	shellName = regexp.MustCompile(`\$[A-Za-z_(]`)
	// keyParameter matches the names of query parameters that take an API key.
	keyParameter = regexp.MustCompile(`(?i)^(key|api[-_]?key|subscription-key|(access|auth)[-_]?token|token)$`)
)

// URL returns the URL of a request: BaseURL, the request's path, and the queries of both. Where BaseURL ends in an API
// version, a path that begins with that version doesn't repeat it: /v1/chat/completions under https://h/openai/v1 is
// https://h/openai/v1/chat/completions.
func (p *Pool) URL(path string) *url.URL {
	u := *p.BaseURL
	path, query, _ := strings.Cut(path, "?")
	path = "/" + strings.TrimLeft(path, "/")
	last := u.Path[strings.LastIndexByte(u.Path, '/')+1:]
	switch {
	case u.Path != "" && strings.HasPrefix(path, u.Path+"/"):
		path = strings.TrimPrefix(path, u.Path)
	case version.MatchString(last) && strings.HasPrefix(path, "/"+last+"/"):
		path = strings.TrimPrefix(path, "/"+last)
	}
	raw := u.EscapedPath() + path
	if decoded, err := url.PathUnescape(raw); err == nil {
		u.Path, u.RawPath = decoded, raw
	} else {
		u.Path, u.RawPath = u.Path+path, ""
	}
	u.RawQuery = joinQueries(u.RawQuery, query)
	return &u
}

func joinQueries(base, own string) string {
	if base == "" || own == "" {
		return base + own
	}
	return base + "&" + own
}

// baseURL reads an absolute URL. Its path may have a prefix of the API, and its query what every request carries, such as
// Azure's api-version.
func (r *reader) baseURL(dst **url.URL) kind {
	var s string
	text := r.text(&s)
	read := func(n ast.Node, path string) {
		if text.read(n, path); s == "" {
			return
		}
		u, err := url.Parse(s)
		switch {
		case shellName.MatchString(s):
			r.problemf(n, path, "names an environment variable in another tool's spelling; write ${NAME}")
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			r.problemf(n, path, "must be a full URL, such as https://api.openai.com")
		case u.User != nil || u.Fragment != "" || hasKey(u):
			r.problemf(n, path, "must have no user, fragment, or API key in its query; the API key belongs in keys")
		default:
			u.Path = strings.TrimRight(u.Path, "/")
			u.RawPath = ""
			*dst = u
		}
	}
	return kind{read, orVariable(object{"type": "string", "pattern": `^[Hh][Tt][Tt][Pp][Ss]?://`})}
}

func hasKey(u *url.URL) bool {
	for name := range u.Query() {
		if keyParameter.MatchString(name) {
			return true
		}
	}
	return false
}
