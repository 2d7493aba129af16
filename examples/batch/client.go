package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/batch"
	"github.com/penstock/penstock/caller/config"
	"github.com/penstock/penstock/examples/internal/report"
)

// maxBody is the longest response body, in bytes.
const maxBody = batch.MaxRecord / 2

// maxBroken is the number of attempts of a request whose answers break off, stall, or are none.
const maxBroken = 5

// keyPatience is the time after which a run ends if no key is usable. Nothing can come of going on, and a later run continues.
const keyPatience = 10 * time.Second

// client sends requests through the pool.
type client struct {
	http    *http.Client
	pool    *config.Pool
	profile caller.Profile
	outage  *outage
	timeout time.Duration // without a byte of an answer
}

func newClient(c *caller.Pool, pool *config.Pool, wire http.RoundTripper, o *outage, timeout time.Duration) *client {
	profile := pool.Caller.Profile
	if profile.Idempotent == nil {
		profile.Idempotent = caller.IsIdempotent
	}
	return &client{pool: pool, profile: profile, outage: o, timeout: timeout, http: &http.Client{
		Transport: c.Transport(wire, caller.TransportConfig{}),
		// Another host would get the API key.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// do sends one request until it is answered or refused for good, and waits out what passes. A refusal is a *refusal; any
// other error means that the request has no answer.
func (c *client) do(ctx context.Context, req request) (*response, error) {
	var tries ownTrouble
	for {
		probe, err := c.outage.enter(ctx)
		if err != nil {
			return nil, err
		}
		began := time.Now()
		answer, err := c.send(ctx, req)
		t, isTrouble := errors.AsType[*trouble](err)
		if _, refused := errors.AsType[*refusal](err); err == nil || refused && !isTrouble {
			c.outage.answered()
			return answer, err
		}
		if !isTrouble {
			c.outage.released(probe)
			return nil, err
		}
		if err := c.waitOut(ctx, t, &tries, began, probe); err != nil {
			return nil, err
		}
	}
}

// ownTrouble is what one request met.
type ownTrouble struct {
	first  time.Time // when it met trouble although others were answered
	broken int       // attempts that may have failed because of it
}

// waitOut waits until a request may be tried again. Its error is why it isn't.
func (c *client) waitOut(ctx context.Context, t *trouble, its *ownTrouble, began time.Time, probe bool) error {
	own := !c.outage.failed(began, probe, t)
	if t.keys && c.outage.lasts() >= min(c.outage.patience, keyPatience) {
		return fmt.Errorf("%s: %w", t.reason, caller.ErrNoKeys)
	}
	switch {
	case t.broken && t.retried:
		its.broken = maxBroken
	case t.broken, t.keys && own: // other requests are answered, so this one is the cause
		its.broken++
	}
	if own && its.first.IsZero() {
		its.first = began
	}
	if its.broken == maxBroken {
		if r, refused := errors.AsType[*refusal](t.err); refused {
			return r
		}
		return t
	}
	if !own {
		return nil
	}
	if time.Since(its.first) >= c.outage.patience {
		return t
	}
	return c.outage.sleep(ctx, max(c.outage.firstPause()<<min(its.broken, 5), min(t.retryAfter, maxPause)), nil)
}

// send makes one attempt: it sends the request through the pool and reads the whole answer.
func (c *client) send(ctx context.Context, req request) (*response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx = context.WithValue(ctx, sendKey{}, &sending{patience: c.outage.firstPause(), cancel: cancel})
	r, err := http.NewRequestWithContext(ctx, req.Method, c.pool.URL(req.URL).String(), bytes.NewReader(req.Body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Client-Request-Id", batchID(req)) // the same in every attempt and run
	res, err := c.http.Do(r)
	if t, ok := errors.AsType[*trouble](context.Cause(ctx)); ok && err != nil {
		return nil, t
	}
	if err != nil {
		// The URL repeats the configuration and the request.
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		if t := troubleOf(ctx, err, c.outage.patience); t != nil {
			return nil, t
		}
		return nil, err
	}
	defer res.Body.Close()
	givenUp := res.Header.Get("X-Should-Retry") == "false" // by the pool, which says nothing of the answer's meaning
	res.Header.Del("X-Should-Retry")
	body, err := c.read(ctx, cancel, res.Body)
	switch {
	case err == nil:
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errStalled), !c.profile.Idempotent(r):
		return nil, fmt.Errorf("reading the answer: %w", err)
	default:
		return nil, &trouble{reason: "an answer broke off: " + err.Error(), broken: true, err: err}
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("the answer is longer than %d MiB", maxBody>>20)
	}
	answer := &response{StatusCode: res.StatusCode, RequestID: res.Header.Get("X-Request-Id"), Body: oneLine(body)}
	res.Request = r
	err = c.judge(res, answer, body)
	if t, ok := errors.AsType[*trouble](err); ok {
		t.retried = givenUp
	}
	return answer, err
}

// read reads a body, and ends the attempt after the timeout without a byte.
func (c *client) read(ctx context.Context, cancel context.CancelCauseFunc, body io.Reader) ([]byte, error) {
	idle := time.AfterFunc(c.timeout, func() { cancel(errStalled) })
	defer idle.Stop()
	text, err := io.ReadAll(&resetting{io.LimitReader(body, maxBody+1), idle, c.timeout})
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		err = fmt.Errorf("%w: no byte for %v", errStalled, c.timeout)
	}
	return text, err
}

// resetting is a reader that starts a timer anew with each byte.
type resetting struct {
	io.Reader

	idle    *time.Timer
	timeout time.Duration
}

// Read implements io.Reader.
func (r *resetting) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.idle.Reset(r.timeout)
	return n, err
}

// wire is the base transport, which sends the attempts.
type wire struct {
	base     http.RoundTripper
	tally    *report.Tally
	estimate func(*http.Request, []byte) caller.Cost
}

func newWire(cfg caller.Config, tally *report.Tally, workers int, timeout time.Duration) *wire {
	base := caller.NewHTTPTransport(workers)
	base.ResponseHeaderTimeout = timeout
	return &wire{base, tally, cfg.Profile.Estimate}
}

// RoundTrip sends a request, unless the run is being drained and this is the request's first attempt.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := batch.Begin(r.Context()); err != nil {
		return nil, err
	}
	w.tally.Charge(r, w.estimate)
	return w.base.RoundTrip(r)
}
