package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/penstock/penstock/caller/config"
)

// route is a checked Route.
type route struct {
	Route
	to *upstream
}

// find returns the first route that fits, or nil.
func (g *Gateway) find(path, model string) *route {
	for i := range g.routes {
		if r := &g.routes[i]; r.fitsPath(path) && (len(r.Models) == 0 || fitsAny(r.Models, model)) {
			return r
		}
	}
	return nil
}

// forPath returns the first route that fits the path, whatever the model is, or the first of all. Its profile shapes the
// errors of requests that are refused before their model is known.
func (g *Gateway) forPath(path string) *route {
	for i := range g.routes {
		if r := &g.routes[i]; r.fitsPath(path) {
			return r
		}
	}
	return &g.routes[0]
}

func (r *route) fitsPath(path string) bool {
	prefix := strings.TrimSuffix(r.Path, "/")
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// url returns the provider's URL for the request's.
func (r *route) url(u *url.URL) *url.URL {
	path := u.EscapedPath()
	if r.Strip {
		path = strings.TrimPrefix(path, strings.TrimSuffix(r.Path, "/"))
	}
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return (&config.Pool{BaseURL: r.to.BaseURL}).URL(path)
}

// location returns a redirect's target as the client reaches it: a place at the provider is one at the gateway.
func (r *route) location(target string) string {
	u, err := url.Parse(target)
	base := r.to.BaseURL
	if err != nil || u.Host != base.Host || u.Scheme != base.Scheme {
		return target
	}
	path := u.EscapedPath()
	if rest, ok := strings.CutPrefix(path, base.EscapedPath()); ok && strings.HasPrefix(rest, "/") {
		path = rest
	}
	if r.Strip {
		path = strings.TrimSuffix(r.Path, "/") + path
	}
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return path
}

// needsModel reports whether the request's model decides where it goes.
func (g *Gateway) needsModel() bool {
	return slices.ContainsFunc(g.routes, func(r route) bool { return len(r.Models) > 0 })
}

// fitsAny reports whether a name fits one of the patterns.
func fitsAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return fits(p, name) })
}

// fits reports whether a name fits a pattern, in which * stands for any text.
func fits(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name = name[at+len(part):]
	}
	return true
}

// hasDots reports whether a path has a segment . or .., by which it could mean another path at the provider than here.
func hasDots(r *http.Request) bool {
	path := strings.ReplaceAll(r.URL.Path, `\`, "/")
	return slices.ContainsFunc(strings.Split(path, "/"), func(s string) bool { return s == "." || s == ".." })
}
