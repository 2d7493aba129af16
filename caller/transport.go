package caller

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/penstock/penstock/retry"
)

// Transport is an http.RoundTripper that makes each request a call of a pool. It estimates the cost, waits for admission,
// adds the granted key's secret, sends the request, and judges the response. It sends the request again if that can help
// and is safe. The pool's authorisation replaces that of the request.
//
// # When a request is sent again
//
// A request is sent again if it is idempotent by the profile or the options, or if it was not carried out: a limit was
// exceeded, the key was refused, or no connection could be made. Its body must be readable again; http.NewRequest
// provides that for bytes and strings. When the attempts run out, RoundTrip returns the last response with the header
// X-Should-Retry: false, so that a client library above doesn't retry after the pool has given up.
//
// # Errors
//
// If a call ends without a response of the provider, RoundTrip returns an *Error. errors.As finds it in the *url.Error of an
// http.Client, too. Client libraries of providers retry after any error of a transport. For them,
// TransportConfig.ErrorResponses turns the error into a response with the status of Error.Status, and these headers:
//
//	Penstock-Error   the reason in one word, from Error.Status. Only responses of a Transport or a gateway have this header.
//	X-Should-Retry   false, by which client libraries don't retry
//	Retry-After      Error.RetryAfter in seconds, rounded up, if it is known. Retry-After-Ms: in milliseconds
//
// The body is an error in the provider's shape (Profile.ErrorBody). ErrorOf returns the response's *Error. RoundTrip
// returns an error all the same if the request's context has ended.
//
// # Permits and redirects
//
// The permit of a request is held until its response's body is read to the end or closed.
//
// If http.Client follows a redirect to another host, or from https to http, that request isn't a call of the pool. The
// Transport sends it unchanged and without a key.
type Transport struct {
	pool *Pool
	base http.RoundTripper
	cfg  TransportConfig
}

// TransportConfig configures a Transport. The zero TransportConfig has the defaults.
type TransportConfig struct {
	// MaxBuffered is the longest request body that the Transport reads before it sends the request, in bytes. More than 0. It
	// reads a body to estimate the cost and to find the model, and keeps a body that can be read only once for the next
	// attempts. A longer body is sent as it comes: the call is charged by its Content-Length, and isn't sent again unless the
	// request has GetBody. Defaults to 0: 4 MiB.
	MaxBuffered int64
	// ErrorResponses makes RoundTrip return a response in place of an *Error, for client libraries that retry after any error
	// of a transport. See Transport. Defaults to false: RoundTrip returns the error.
	ErrorResponses bool
}

// Transport returns an http.RoundTripper whose requests are calls of the pool, sent by base. A nil base stands for
// NewHTTPTransport(0).
func (c *Pool) Transport(base http.RoundTripper, cfg TransportConfig) *Transport {
	if base == nil {
		base = NewHTTPTransport(0)
	}
	return &Transport{pool: c, base: base, cfg: cfg}
}

// NewHTTPTransport returns an http.Transport for many calls to few hosts. It keeps up to maxInFlight idle connections to
// a host; net/http keeps 2 and opens a connection for nearly every further call. 0 stands for 512.
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
	t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
		if res.StatusCode != http.StatusOK {
			return &retry.ProxyError{Status: res.StatusCode}
		}
		return nil
	}
	return t
}

// RoundTrip makes one call of the pool. Its error is an *Error.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if crossesOrigin(req) {
		return t.base.RoundTrip(req)
	}
	res, err := t.do(req)
	return t.respond(req, res, err)
}

// CloseIdleConnections closes the idle connections of the base transport.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// do makes a call of the request, or shares the call of an equal one. It may return a response that is no success with
// its error.
func (t *Transport) do(req *http.Request) (*http.Response, error) {
	if key := OptionsFrom(req.Context()).DedupKey; key != "" && replayable(req) {
		return t.doShared(req, key)
	}
	return t.doOnce(req, false)
}

// doOnce makes a call of the request.
func (t *Transport) doOnce(req *http.Request, whole bool) (*http.Response, error) {
	c, profile := t.pool, &t.pool.settings.Profile
	out, err := t.outgoing(req)
	if err != nil {
		closeBody(req)
		return nil, &Error{Pool: c.settings.Name, Err: &bodyError{err}}
	}
	k := &call[*http.Response]{pool: c, opts: OptionsFrom(req.Context()), discard: drain, response: true}
	if !IsIdempotent(out.Request) {
		c.settings.setIdempotencyKey(&k.opts)
	}
	k.hedged = c.hedger != nil && replayable(out.Request) &&
		(k.opts.IdempotencyKey != "" || t.repeatable(out.Request, k.opts.Idempotency))
	if k.hedged {
		out.Request = out.Clone(req.Context()) // the slower attempt may begin after the user got the request back
	}
	if c.circuits != nil || c.settings.Hedge.Percentile > 0 || c.settings.hasDeadline(req.Context(), &k.opts) {
		k.endpoint = endpoint(req)
	}
	k.replayable = replayable(out.Request)
	named := profile.Model(out.Request, out.beginning())
	k.opts.Model = cmp.Or(k.opts.Model, named)
	estimated := profile.Estimate(out.measured(), out.body)
	how := reading{estimated: estimated, idempotency: k.opts.Idempotency, whole: whole || k.opts.Whole || c.settings.Whole}
	k.byLength = out.long()
	k.send = func(ctx context.Context, g *Grant) (*http.Response, Verdict, error) {
		later := k.bodyUsed.Swap(true)
		attempt, err := t.prepare(ctx, out.Request, g, named, later)
		if err != nil {
			return t.unprepared(ctx, k, g, attempt, err)
		}
		return t.roundTripOnce(ctx, attempt, g, how)
	}
	cost, prompt := c.settings.calibrate(k.opts.Model, estimated)
	k.prompt = prompt
	res, err := k.run(req.Context(), cost)
	if !k.bodyUsed.Load() {
		closeBody(out.Request)
	}
	return res, err
}

// unprepared ends an attempt whose request couldn't be prepared. Nothing was sent.
func (t *Transport) unprepared(ctx context.Context, k *call[*http.Response], g *Grant, attempt *http.Request, err error,
) (*http.Response, Verdict, error) {
	g.finishAttempt()
	v := t.pool.judgeError(ctx, err)
	if v.Outcome != ClientError && hasBody(attempt) && attempt.GetBody == nil {
		k.bodyUsed.Store(false) // nothing was read of the only body
		return nil, v, err
	}
	closeBody(attempt)
	if v.Outcome == ClientError || hasBody(attempt) && !k.replayable {
		err = retry.Permanent(err)
	}
	return nil, v, err
}

// respond returns what RoundTrip returns for the result of a call.
func (t *Transport) respond(req *http.Request, res *http.Response, err error) (*http.Response, error) {
	if res != nil {
		setKeyOf(res)
		res.Request = req // in place of the attempt's, which holds the secret
		if err != nil && res.Header != nil {
			res.Header.Set(shouldRetry, "false")
		}
		return res, nil
	}
	if e, ok := err.(*Error); ok && t.cfg.ErrorResponses && !over(req.Context()) {
		return t.errorResponse(req, e), nil
	}
	return nil, err
}

// hostOf returns a URL's host, with its port unless that is 443.
func hostOf(u *url.URL) string {
	if u.Scheme == "http" && u.Port() == "" {
		return u.Host + ":80"
	}
	return u.Host
}

// roundTripOnce makes one attempt. The attempt ends with the response's body.
func (t *Transport) roundTripOnce(ctx context.Context, req *http.Request, g *Grant, how reading) (*http.Response, Verdict, error) {
	g.method, g.host = req.Method, hostOf(req.URL)
	res, err := t.base.RoundTrip(req)
	if err == nil && res == nil {
		err = errors.New("the base transport returned neither a response nor an error")
	}
	var v Verdict
	whole := false // an answer that is complete counts, though the attempt's time is up
	if err == nil {
		v, whole, err = t.receive(res, req, g, how)
	}
	if err == nil && !whole && !g.ctx.answered() {
		_ = res.Body.Close()
		err = cancelCause(ctx)
	}
	if err != nil {
		g.finishAttempt()
		v = t.pool.judgeError(ctx, err)
		return nil, v, t.noUnsafeRetry(req, how.idempotency, v, withCancelCause(ctx, err))
	}
	return res, v, t.noUnsafeRetry(req, how.idempotency, v, nil)
}
