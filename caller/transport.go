package caller

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/retry"
)

// drainLimit is how much of an answer that nobody wants is read so that its connection can serve again.
const drainLimit = 16 << 10

// Transport makes every request a call of the pool: it estimates the cost, waits for admission, puts the granted key's
// secret in, judges the answer, and sends the request again where that is worth it and safe. Whatever authorisation
// the request carries is replaced.
//
// Safe to repeat is what the profile calls so, and a request that wasn't carried out: its answer says so (a limit
// exceeded, a key refused), or no connection could be made. Its body must be readable again (http.NewRequest sees to
// that for bytes and strings). When attempts run out, the last answer is returned, with the header X-Should-Retry: false,
// so that a client library above doesn't go on where the pool has given up.
//
// A call that ends without an answer of the provider ends, for the same reason, with an answer and not with an error:
// status 429 if the pool refused it (its turn would come after its deadline, for instance), 503 if the pool is closed or
// Redis away, 502 or 504 if attempts were made and none was answered. It has X-Should-Retry: false, Retry-After where
// that is known, and a body in the provider's shape that says why; ErrorOf returns the *Error. It is an error
// where the request's own context ended, and with TransportConfig.ReturnErrors.
//
// The permit of a request is held until its answer's body is read to the end or closed.
//
// A request that http.Client makes to follow a redirect to another host, or from https to http, isn't a call of the
// pool: it is sent as it is, and no key goes there.
type Transport struct {
	caller *Pool
	base   http.RoundTripper
	cfg    TransportConfig
}

// TransportConfig is how a Transport answers. The zero TransportConfig has the defaults.
type TransportConfig struct {
	// ReturnErrors makes RoundTrip return an error for a call that ends without an answer of the provider. Defaults to
	// false: RoundTrip returns a response that stands for the error, because client libraries of providers retry after any
	// error.
	ReturnErrors bool
}

// Transport returns an http.RoundTripper whose requests are calls of the pool, sent by base. A nil base stands for
// NewHTTPTransport(0).
func (c *Pool) Transport(base http.RoundTripper, cfg TransportConfig) *Transport {
	if base == nil {
		base = NewHTTPTransport(0)
	}
	return &Transport{caller: c, base: base, cfg: cfg}
}

// NewHTTPTransport returns an http.Transport for many calls to few hosts: it keeps up to maxInFlight idle connections
// to a host, where net/http keeps 2 and dials anew for nearly every call above that. 0 stands for 512.
func NewHTTPTransport(maxInFlight int) *http.Transport {
	if maxInFlight <= 0 {
		maxInFlight = 512
	}
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		t = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, IdleConnTimeout: 90 * time.Second}
	}
	t = t.Clone()
	t.MaxIdleConns = 0
	t.MaxIdleConnsPerHost = maxInFlight
	return t
}

// RoundTrip makes one call of the pool. An error of it is an *Error.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if strays(req) {
		return t.base.RoundTrip(req)
	}
	res, err := t.call(req)
	return t.answer(req, res, err)
}

// call makes the request a call of the pool, or part of one. It may return both an answer and why it is no success.
func (t *Transport) call(req *http.Request) (*http.Response, error) {
	if name := OptionsFrom(req.Context()).DedupKey; name != "" && (!hasBody(req) || req.GetBody != nil) {
		return t.shareCall(req, name)
	}
	return t.make(req)
}

// make makes the request a call of the pool.
func (t *Transport) make(req *http.Request) (*http.Response, error) {
	body, err := peekBody(req)
	if err != nil {
		closeBody(req)
		return nil, &Error{Pool: t.caller.plan.Name, Err: err}
	}
	profile, opts := &t.caller.plan.Profile, OptionsFrom(req.Context())
	if !IsIdempotent(req) {
		t.caller.plan.identify(&opts)
	}
	if t.caller.circuits != nil || t.caller.plan.Hedge.Percentile > 0 {
		opts.endpoint = endpoint(req)
	}
	replay := !hasBody(req) || req.GetBody != nil
	opts.hedge = t.caller.plan.Hedge.After > 0 && replay && (opts.IdempotencyKey != "" || t.repeatable(req, opts.Idempotency))
	var sent atomic.Bool
	send := func(ctx context.Context, g *Grant) (*http.Response, Verdict, error) {
		attempt, err := t.prepare(ctx, req, g, sent.Swap(true))
		if err != nil {
			g.end()
			return nil, Verdict{Outcome: ClientError}, retry.Permanent(err)
		}
		return t.send(ctx, attempt, g, opts.Idempotency)
	}
	if opts.Model == "" {
		opts.Model = profile.Model(req, body)
	}
	cost := t.caller.plan.calibrate(&opts, profile.Estimate(req, body))
	res, err := do(req.Context(), t.caller, opts, cost, send, drain)
	if !sent.Load() {
		closeBody(req)
	}
	return res, err
}

// answer is what RoundTrip returns for the outcome of a call.
func (t *Transport) answer(req *http.Request, res *http.Response, err error) (*http.Response, error) {
	if res != nil {
		res.Request = req // not the one that was sent: that holds the secret
		if err != nil && res.Header != nil {
			res.Header.Set(shouldRetry, "false")
		}
		return res, nil
	}
	if e, ok := err.(*Error); ok && !t.cfg.ReturnErrors && !over(req.Context()) {
		return t.answerFor(req, e), nil
	}
	return nil, err
}

// strays reports whether the request follows a redirect away from the host that the first one was for, or from https
// to http.
func strays(req *http.Request) bool {
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	return first.URL.Host != req.URL.Host || first.URL.Scheme == "https" && req.URL.Scheme != "https"
}

// CloseIdleConnections closes the idle connections of the transport below.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// prepare returns the request of one attempt.
func (t *Transport) prepare(ctx context.Context, req *http.Request, g *Grant, again bool) (*http.Request, error) {
	attempt := req.Clone(ctx)
	if again && hasBody(req) {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		attempt.Body = body
	}
	if attempt.Header == nil {
		attempt.Header = http.Header{}
	}
	if g.IdempotencyKey != "" && attempt.Header.Get("Idempotency-Key") == "" {
		attempt.Header.Set("Idempotency-Key", g.IdempotencyKey)
	}
	attempt.Header.Del("Authorization")
	t.caller.plan.Profile.Authorize(attempt, g.Secret())
	return attempt, nil
}

// send makes one attempt. The grant goes with the answer's body.
func (t *Transport) send(ctx context.Context, req *http.Request, g *Grant, word Idempotency) (*http.Response, Verdict, error) {
	res, err := t.base.RoundTrip(req)
	if err == nil && res == nil {
		err = errors.New("the transport below returned neither an answer nor an error")
	}
	if err != nil {
		g.end()
		v := t.caller.judgeError(ctx, err)
		return nil, v, t.guard(req, word, v, explained(ctx, err))
	}
	if res.Body == nil {
		res.Body = http.NoBody
	}
	var head []byte
	if res.StatusCode >= http.StatusBadRequest {
		head, _ = io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	}
	if !g.ctx.answered() {
		_ = res.Body.Close()
		g.end()
		v := t.caller.judgeError(ctx, cut(ctx))
		return nil, v, t.guard(req, word, v, cut(ctx))
	}
	t.caller.observe(g, res)
	v := t.caller.plan.Profile.Judge(res, head)
	if head == nil {
		res.Body = hold(res, g)
	} else {
		// The provider is done with a request that failed: its permit goes back before anybody reads the answer.
		g.release()
		res.Body = &rest{Reader: io.MultiReader(bytes.NewReader(head), res.Body), Closer: res.Body, grant: g}
	}
	return res, v, t.guard(req, word, v, nil)
}

// peekBody returns a copy of the request's body, nil where it can be read only once.
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

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// drain ends an answer that is followed by another attempt.
func drain(res *http.Response) {
	if res != nil {
		_, _ = io.CopyN(io.Discard, res.Body, drainLimit)
		_ = res.Body.Close()
	}
}
