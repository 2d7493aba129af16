package caller

import (
	"context"
	"io"
	"net/http"
)

// prepare returns the request of one attempt: a copy for the granted account, with the granted key's credentials. A later
// attempt has a new body. named is the model as the request names it.
func (t *Transport) prepare(ctx context.Context, req *http.Request, g *Grant, named string, later bool) (*http.Request, error) {
	attempt := req.Clone(ctx)
	if later && hasBody(req) {
		body, err := req.GetBody()
		if err != nil {
			attempt.Body = nil
			return attempt, err
		}
		attempt.Body = body
	}
	if attempt.Header == nil {
		attempt.Header = http.Header{}
	}
	if g.IdempotencyKey != "" && attempt.Header.Get("Idempotency-Key") == "" {
		attempt.Header.Set("Idempotency-Key", g.IdempotencyKey)
	}
	if err := g.direct(ctx, attempt, named); err != nil {
		return attempt, err
	}
	return attempt, nil
}

// crossesOrigin reports whether the request follows a redirect away from the first request's host, or from https to http.
func crossesOrigin(req *http.Request) bool {
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	return first.URL.Host != req.URL.Host || first.URL.Scheme == "https" && req.URL.Scheme != "https"
}

// peekBody returns a copy of the request's body, or nil if the body can be read only once.
func peekBody(req *http.Request) ([]byte, error) {
	if !hasBody(req) || req.GetBody == nil {
		return nil, nil
	}
	r, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// replayable reports whether the request can be sent more than once.
func replayable(req *http.Request) bool { return !hasBody(req) || req.GetBody != nil }

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
