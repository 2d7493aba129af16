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
	"github.com/penstock/penstock/examples/internal/report"
)

// maxBody is the longest response body, in bytes.
const maxBody = batch.MaxRecord / 2

// client sends requests through the pool.
type client struct {
	http *http.Client
	base *url.URL
}

func newClient(c *caller.Pool, base *url.URL, wire http.RoundTripper) *client {
	return &client{base: base, http: &http.Client{
		Transport: c.Transport(wire, caller.TransportConfig{ReturnErrors: true}),
		// Another host would get the API key.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// do sends one request and reads its response. A response that isn't a success is a *refusal.
func (c *client) do(ctx context.Context, req request) (*response, error) {
	r, err := http.NewRequestWithContext(ctx, req.Method, endpoint(c.base, req.URL), bytes.NewReader(req.Body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Client-Request-Id", batchID(req)) // the same in every attempt and run
	resp, err := c.http.Do(r)
	if err != nil {
		// The URL repeats the configuration and the request.
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("the answer is longer than %d MiB", maxBody>>20)
	}
	answer := &response{StatusCode: resp.StatusCode, RequestID: resp.Header.Get("X-Request-Id"), Body: oneLine(body)}
	if resp.StatusCode/100 != 2 {
		return nil, &refusal{answer}
	}
	return answer, nil
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
