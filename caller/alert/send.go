package alert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/penstock/penstock/retry"
)

const (
	// sendTimeout bounds an attempt, and sendElapsed all of them: less than the lease.
	sendTimeout  = 4 * time.Second
	sendElapsed  = 10 * time.Second
	sendAttempts = 3
	// longestAnswer is how much of a receiver's answer is read, in bytes.
	longestAnswer = 4 << 10
)

// message is one request to a receiver.
type message struct {
	url  string
	body []byte
}

// refusal is an answer of a receiver that isn't success.
type refusal struct {
	status int
	code   int    // of the body, with the receivers that have one; 0: none
	text   string // of the body, with the receivers that have one
}

func (e *refusal) Error() string {
	if e.code != 0 {
		return fmt.Sprintf("code %d: %s", e.code, e.text)
	}
	return fmt.Sprintf("status %d", e.status)
}

// StatusCode returns the HTTP status by which package retry decides.
func (e *refusal) StatusCode() int { return e.status }

// send gives a receiver a notification. Its error has no secret.
func (a *Alerter) send(ctx context.Context, r *Receiver, n *notification) error {
	ctx, cancel := context.WithTimeout(ctx, sendElapsed)
	defer cancel()
	n.name = r.Name
	policy := retry.Policy{Attempts: sendAttempts, Base: 500 * time.Millisecond, Max: 2 * time.Second, MaxElapsed: sendElapsed}
	var errs []error
	for i := range r.messages(n) {
		_, err := retry.Do(ctx, policy, func(ctx context.Context, _ int) (struct{}, error) {
			m, err := r.message(n, i, time.Now()) // anew for each attempt: signatures have a time
			if err != nil {
				return struct{}{}, retry.Permanent(err)
			}
			return struct{}{}, a.post(ctx, r, m)
		})
		if err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		// Without what it wraps, which may show a URL.
		return fmt.Errorf("receiver %q: %s", r.Name, a.cfg.clean(err.Error()))
	}
	return nil
}

// post sends one message, once.
func (a *Alerter) post(ctx context.Context, r *Receiver, m *message) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url, bytes.NewReader(m.body))
	if err != nil {
		return retry.Permanent(withoutURL(err))
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "penstock")
	res, err := a.cfg.Client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, longestAnswer))
	if res.StatusCode < 200 || res.StatusCode > 299 {
		its := &refusal{status: res.StatusCode}
		if wait, ok := retry.ParseRetryAfter(res.Header, time.Now()); ok && retry.Status(res.StatusCode) {
			return retry.After(its, wait)
		}
		return its
	}
	if err != nil {
		return err
	}
	return r.accepted(body)
}

// withoutURL returns the cause of an error of net/http, which names the URL.
func withoutURL(err error) error {
	if its, ok := errors.AsType[*url.Error](err); ok {
		return its.Err
	}
	return err
}
