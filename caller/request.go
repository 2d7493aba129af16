package caller

import (
	"bytes"
	"cmp"
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

// DefaultMaxBuffered is the default of TransportConfig.MaxBuffered.
const DefaultMaxBuffered = 4 << 20

// maxBeginning is the part of a long body that is read to find the request's model, in bytes.
const maxBeginning = 64 << 10

// outgoing is the request of a call. Its attempts send copies.
type outgoing struct {
	*http.Request

	body   []byte // whole; nil: there is none, or it is long or isn't read
	prefix []byte // the beginning of a long body
	length int64  // of a long body, in bytes; -1: not known
}

// long reports whether the body is longer than TransportConfig.MaxBuffered.
func (o *outgoing) long() bool { return o.prefix != nil }

// beginning returns the part of the body that was read.
func (o *outgoing) beginning() []byte {
	if o.long() {
		return o.prefix
	}
	return o.body
}

// measured returns the request as Profile.Estimate gets it. That of a long body has at least the length that was read.
func (o *outgoing) measured() *http.Request {
	if !o.long() {
		return o.Request
	}
	r := *o.Request
	r.ContentLength = max(o.length, int64(len(o.prefix)))
	return &r
}

// outgoing reads the request's body, up to TransportConfig.MaxBuffered: from a copy if the request can make one, else once
// for all attempts. A long body is sent as it is, and only its beginning is read.
func (t *Transport) outgoing(req *http.Request) (*outgoing, error) {
	most := cmp.Or(t.cfg.MaxBuffered, DefaultMaxBuffered)
	switch {
	case !hasBody(req):
		return &outgoing{Request: req}, nil
	case req.GetBody == nil:
		return bufferOnce(req, most)
	case !t.pool.settings.readsRequests:
		return &outgoing{Request: req}, nil
	}
	r, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	body, rest, err := readUpTo(r, req.ContentLength, most)
	if err != nil {
		return nil, err
	}
	if rest {
		return &outgoing{Request: req, prefix: body, length: req.ContentLength}, nil
	}
	return &outgoing{Request: req, body: body}, nil
}

// bufferOnce reads a body that can be read only once. It returns a request whose body is the same, and can be read again if
// it isn't long. A body of unknown length that isn't JSON may depend on the response, so it isn't read.
func bufferOnce(req *http.Request, most int64) (*outgoing, error) {
	if req.ContentLength <= 0 && !isJSON(req.Header) {
		return &outgoing{Request: req}, nil
	}
	if req.ContentLength > most && !isJSON(req.Header) { // it names no model, and may wait for "100 Continue"
		return &outgoing{Request: req, prefix: []byte{}, length: req.ContentLength}, nil
	}
	body, rest, err := readUpTo(req.Body, req.ContentLength, most)
	if err != nil {
		return nil, err
	}
	own := *req
	if rest {
		own.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(body), req.Body), req.Body}
		return &outgoing{Request: &own, prefix: body, length: req.ContentLength}, nil
	}
	closeBody(req)
	own.ContentLength = int64(len(body))
	own.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	own.Body, err = own.GetBody()
	if len(body) == 0 {
		own.Body = http.NoBody
	}
	return &outgoing{Request: &own, body: body}, err
}

// readUpTo reads a body of a known length, or of -1. If the body is longer than most, it reads the beginning alone and
// reports a rest. It allocates no more than it reads.
func readUpTo(r io.Reader, length, most int64) (body []byte, rest bool, err error) {
	if length > most {
		body = make([]byte, min(length, maxBeginning))
		n, err := io.ReadFull(r, body)
		return body[:n], true, err
	}
	if length > 0 {
		body = make([]byte, length)
		if _, err := io.ReadFull(r, body); err != nil {
			return nil, false, err
		}
		return body, false, nil
	}
	body, err = io.ReadAll(io.LimitReader(r, most+1))
	return body, int64(len(body)) > most, err
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// replayable reports whether the request can be sent more than once.
func replayable(req *http.Request) bool { return !hasBody(req) || req.GetBody != nil }

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
