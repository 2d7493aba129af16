package caller

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// site is where the calls of an account are sent.
type site struct {
	base   *url.URL // nil: the request's own URL
	query  url.Values
	header http.Header
	models map[string]string // by the pool's name; nil: every model, by its own name

	weight, concurrency int // 0: that of the keys, that of the pool
}

// modelMark stands for the model's name in Account.BaseURL.
const modelMark = "{model}"

// newSite checks an account and makes its site.
func newSite(a *Account) (*site, error) {
	var errs []error
	out := &site{query: a.Query, header: http.Header{}, models: a.Models, weight: a.Weight, concurrency: a.Concurrency}
	if a.BaseURL != "" {
		base, err := parseBase(a.BaseURL)
		if err != nil {
			errs = append(errs, fmt.Errorf("the BaseURL of account %q %w", a.ID, err))
		}
		out.base = base
	}
	for name, values := range a.Header {
		for _, v := range values {
			if name == "" || strings.ContainsAny(name, " :\r\n") || strings.ContainsAny(v, "\r\n") {
				errs = append(errs, fmt.Errorf("the Header of account %q has a name or value that HTTP doesn't allow: take line breaks out", a.ID))
			}
		}
		out.header[textproto.CanonicalMIMEHeaderKey(name)] = values
	}
	for name := range a.Models {
		if name == "" {
			errs = append(errs, fmt.Errorf("the Models of account %q have one without a name: remove it", a.ID))
		}
	}
	if a.Models != nil && len(a.Models) == 0 {
		errs = append(errs, fmt.Errorf("the Models of account %q are empty: name its models, or leave Models nil for all", a.ID))
	}
	if a.Concurrency < 0 || a.Weight < 0 {
		errs = append(errs, fmt.Errorf("account %q has the Concurrency %d and Weight %d: use 0 for the defaults, or more",
			a.ID, a.Concurrency, a.Weight))
	}
	return out, errors.Join(errs...)
}

// parseBase parses a base URL. Its error leaves the value out, which may hold a password.
func parseBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("isn't a full URL: use one such as https://api.openai.com")
	case u.User != nil || u.Fragment != "":
		return nil, errors.New("has a user or a fragment: leave it out; credentials belong in Keys")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// model returns the name that a model has in the account, and whether the account has the model. The zero site, and one
// without models, have every model.
func (p *site) model(model string) (there string, ok bool) {
	if p == nil || p.models == nil || model == "" {
		return model, true
	}
	return namesModel(p.models, model)
}

// credentials are the headers that carry a client's own credentials.
var credentials = []string{"Authorization", "Proxy-Authorization", "Cookie", "Api-Key", "X-Api-Key", "X-Goog-Api-Key"}

// apply directs a request to the account: its URL, query and headers. of is Config.BaseURL or nil, model the name that the
// call's model has there. A request that goes to another host than its own loses the credentials of its own host.
func (p *site) apply(r *http.Request, of *url.URL, model string) {
	if p == nil {
		return
	}
	if p.base != nil {
		if own := r.URL.Host; own != p.base.Host {
			for _, name := range credentials {
				r.Header.Del(name)
			}
		}
		r.URL, r.Host = joinURL(p.base, of, r.URL, model), ""
	}
	if len(p.query) > 0 {
		r.URL.RawQuery = mergeQuery(r.URL.RawQuery, p.query)
	}
	for name, values := range p.header {
		r.Header[name] = slices.Clip(values)
		if name == "Host" && len(values) > 0 {
			r.Host = values[0]
		}
	}
}

// versionSegment matches a segment of a path that is an API's version, such as v1 or v1beta.
var versionSegment = regexp.MustCompile(`^v[0-9]+[a-z0-9]*$`)

// joinURL returns the URL of a request under another base. of is the base that the request's URL has now; nil: its scheme
// and host.
//
//	base of the account                     request            result's path
//	https://h                               /v1/x              /v1/x
//	https://h/openai/v1                     /v1/x              /openai/v1/x, because one version is enough
//	https://h/openai/deployments/d          /v1/x              /openai/deployments/d/x, which has no version
//	https://h/a, of https://own/v1          https://own/v1/x   /a/x
func joinURL(base, of, request *url.URL, model string) *url.URL {
	u, path := *base, request.EscapedPath()
	prefix := strings.ReplaceAll(strings.ReplaceAll(base.EscapedPath(), "%7B", "{"), "%7D", "}")
	prefix = strings.ReplaceAll(prefix, modelMark, url.PathEscape(model))
	rest, ofBase := underBase(of, request, path)
	switch {
	case ofBase:
		path = rest
	case prefix != "" && (path == prefix || strings.HasPrefix(path, prefix+"/")):
		path = path[len(prefix):]
	case endsInVersion(prefix):
		path = withoutVersion(path)
	}
	if path != "" && path[0] != '/' {
		path = "/" + path
	}
	setPath(&u, prefix+path)
	u.RawQuery = request.RawQuery
	if base.RawQuery != "" {
		u.RawQuery = mergeQuery(request.RawQuery, base.Query())
	}
	return &u
}

// underBase returns what follows a base in a request's URL, and whether the URL is under the base.
func underBase(base, request *url.URL, path string) (rest string, ok bool) {
	if base == nil || !strings.EqualFold(base.Host, request.Host) {
		return "", false
	}
	rest, ok = strings.CutPrefix(path, base.EscapedPath())
	return rest, ok && base.Path != "" && (rest == "" || rest[0] == '/')
}

// endsInVersion reports whether a path that is appended to a prefix has no version of its own: the prefix ends in one, or
// in the name of a deployment.
func endsInVersion(prefix string) bool {
	segments := strings.Split(prefix, "/")
	last := len(segments) - 1
	return versionSegment.MatchString(segments[last]) || last > 0 && segments[last-1] == "deployments"
}

// withoutVersion returns a path without its first segment if that is a version.
func withoutVersion(path string) string {
	first, rest, more := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !versionSegment.MatchString(first) || !more {
		return path
	}
	return "/" + rest
}

// setPath sets the path of a URL to an escaped one.
func setPath(u *url.URL, escaped string) {
	path, err := url.PathUnescape(escaped)
	if err != nil {
		path = escaped
	}
	u.Path, u.RawPath = path, escaped
}

// mergeQuery returns a query with more parameters, which replace those of the same names.
func mergeQuery(query string, more url.Values) string {
	values, err := url.ParseQuery(query)
	if err != nil { // what can't be parsed stays as it is
		return strings.TrimPrefix(query+"&"+more.Encode(), "&")
	}
	maps.Copy(values, more)
	return values.Encode()
}
