package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/caller"
)

// call is one call that a process makes.
type call struct {
	id       string
	priority caller.Priority
	tokens   int
	sent     time.Time // when its first attempt was sent; zero: not yet
}

type callKey struct{}

// request returns the call as a request. Its idempotency key makes it safe to repeat, and shows the provider a call that it
// gets twice.
func (c *call) request(ctx context.Context, url string) (*http.Request, error) {
	body := fmt.Appendf(nil, `{"model":"m","max_tokens":%d,"messages":[{"role":"user","content":"Hello"}]}`, c.tokens)
	ctx = context.WithValue(ctx, callKey{}, c)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", c.id)
	return req, nil
}

// line is the base transport of both senders. It counts attempts and bounds the time of each.
type line struct {
	base      http.RoundTripper
	timeout   time.Duration
	attempts  atomic.Int64
	throttled atomic.Int64
}

// RoundTrip makes one attempt, and reads the response's body before it returns.
func (l *line) RoundTrip(req *http.Request) (*http.Response, error) {
	l.attempts.Add(1)
	if c, ok := req.Context().Value(callKey{}).(*call); ok && c.sent.IsZero() {
		c.sent = time.Now()
	}
	ctx, cancel := context.WithTimeout(req.Context(), l.timeout)
	defer cancel()
	res, err := l.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusTooManyRequests && !bytes.Contains(body, []byte("insufficient_quota")) {
		l.throttled.Add(1)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}
