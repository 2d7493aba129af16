package caller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/penstock/penstock/caller/internal/hedge"
	"github.com/penstock/penstock/retry"
)

const (
	// maxErrorBody is the part of an error response's body that is read to judge the response, in bytes.
	maxErrorBody = 64 << 10
	// hedgeLost is the reason of a request that was cancelled because the hedge's other request had its response first.
	hedgeLost = "hedge lost"
	// timedOut is the reason of an attempt that took too long.
	timedOut = "timeout"
)

// retryHint adds to an attempt's error whether, and when, the call is tried again. elsewhere says that another key or
// account may serve a call that this one refused.
func (c *Pool) retryHint(v Verdict, err error, elsewhere bool) error {
	if v.Outcome == Success {
		return err
	}
	if err == nil {
		err = &outcomeError{v}
	}
	if _, ok := errors.AsType[retry.Hinter](err); ok {
		return err // the function given to Do has decided
	}
	switch v.Outcome {
	case Throttled, KeyRejected, OutOfCredit:
		if !elsewhere {
			return retry.Permanent(err)
		}
		if v.Scope != ScopeProvider {
			return retry.Uncounted(retry.Immediately(err)) // admission doesn't grant the key again
		}
		return retry.Uncounted(retry.After(err, v.RetryAfter))
	case Overloaded, Transient:
		if worth := c.settings.Retry.Retryable; worth != nil && !worth(err) {
			return retry.Permanent(err)
		}
		if retry.NeverSent(err) {
			return retry.Uncounted(retry.After(err, v.RetryAfter))
		}
		return retry.After(err, v.RetryAfter)
	case ClientError:
		if v.Elsewhere && elsewhere {
			return retry.Uncounted(retry.Immediately(err))
		}
	}
	return retry.Permanent(err)
}

// judgeError returns the meaning of an attempt's error.
func (c *Pool) judgeError(ctx context.Context, err error) Verdict {
	if err == nil {
		return Verdict{Outcome: Success}
	}
	if v, ok := errors.AsType[interface {
		error
		Verdict() Verdict
	}](err); ok {
		return v.Verdict()
	}
	if s, ok := errors.AsType[*StatusError](err); ok {
		return c.judge(s.response(), s.Body)
	}
	status := errorStatusOf(err)
	if status != nil && !status.ownEnd {
		return c.judge(status.response, status.body)
	}
	if v, ended := judgeEnd(ctx); ended {
		return v
	}
	if status != nil {
		return c.judge(status.response, status.body)
	}
	if retry.Network(err) || retry.Retryable(err) {
		return Verdict{Outcome: Transient, Scope: ScopeProvider, Reason: "network"}
	}
	return Verdict{Outcome: ClientError}
}

// judgeEnd returns the meaning of an attempt whose context has ended. ended is false if it hasn't.
func judgeEnd(ctx context.Context) (v Verdict, ended bool) {
	switch reason := cancelCause(ctx); {
	case errors.Is(reason, ErrLeaseLost):
		return Verdict{Outcome: Transient, Scope: ScopeProvider, Reason: "lease lost"}, true
	case reason != nil:
		return Verdict{Outcome: Transient, Scope: ScopeProvider, Reason: timedOut}, true
	case errors.Is(context.Cause(ctx), hedge.ErrLost):
		return Verdict{Outcome: Canceled, Reason: hedgeLost}, true
	case over(ctx):
		return Verdict{Outcome: Canceled, Reason: "the call's context ended"}, true
	}
	return v, false
}

// concurrencyPattern finds the words for calls in flight in the error of a limit.
var concurrencyPattern = regexp.MustCompile(`(?i)\bin[- ]flight\b|concurren|simultaneous|parallel (?:calls|requests)|并发`)

// judge returns the profile's verdict on a response. body is its beginning.
func (c *Pool) judge(res *http.Response, body []byte) Verdict {
	v := c.settings.Profile.Judge(res, body)
	if v.Outcome == Throttled && !v.Concurrency {
		v.Concurrency = concurrencyPattern.Match(body)
	}
	return v
}

// over reports whether a call's context has ended or its deadline has passed. An http.Client with a Timeout cancels the
// request before the context ends.
func over(ctx context.Context) bool {
	if a, ok := ctx.(*attemptContext); ok {
		ctx = a.call
	}
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// JudgeStatus judges a response by its status and Retry-After alone.
func JudgeStatus(r *http.Response, _ []byte) Verdict {
	v := Verdict{Scope: ScopeAccount, Reason: strconv.Itoa(r.StatusCode)}
	v.RetryAfter, _ = retry.ParseRetryAfter(r.Header, time.Now())
	switch code := r.StatusCode; {
	case code < http.StatusBadRequest:
		return Verdict{Outcome: Success}
	case code == http.StatusTooManyRequests:
		v.Outcome = Throttled
	case code == http.StatusUnauthorized:
		v.Outcome, v.Scope = KeyRejected, ScopeKey
	case code == http.StatusPaymentRequired:
		v.Outcome = OutOfCredit
	case code == http.StatusServiceUnavailable || code == 529:
		v.Outcome, v.Scope = Overloaded, ScopeProvider
	case retry.Status(code):
		v.Outcome, v.Scope = Transient, ScopeProvider
	default:
		v.Outcome = ClientError
	}
	return v
}

// StatusError is an HTTP response that isn't a success, as an error for Do.
type StatusError struct {
	StatusCode int
	Header     http.Header
	Body       []byte // its beginning, at most 64 KiB
	// Request is the request without its body and its credentials: headers and the URL's user and query are left out.
	Request *http.Request
}

// Error returns the status. The text leaves out the body, which may quote the key.
func (e *StatusError) Error() string {
	return fmt.Sprintf("HTTP status %d (%s)", e.StatusCode, http.StatusText(e.StatusCode))
}

// response returns the response without its body.
func (e *StatusError) response() *http.Response {
	return &http.Response{StatusCode: e.StatusCode, Header: e.Header, Request: e.Request}
}

// status returns the HTTP status of an attempt, or 0 if it has none.
func status(value any, err error) int {
	if res, ok := value.(*http.Response); ok && res != nil {
		return res.StatusCode
	}
	if s, ok := errors.AsType[*StatusError](err); ok {
		return s.StatusCode
	}
	if s := errorStatusOf(err); s != nil {
		return s.response.StatusCode
	}
	return 0
}

// CheckResponse returns nil for a status below 400. Otherwise it reads the beginning of the body, closes it, and returns a
// *StatusError, or the *Error that a response of Transport stands for.
func CheckResponse(res *http.Response) error {
	if res.StatusCode < http.StatusBadRequest {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	_ = res.Body.Close()
	if err := ErrorOf(res); err != nil {
		return err
	}
	return &StatusError{StatusCode: res.StatusCode, Header: res.Header, Body: body, Request: withoutCredentials(res.Request)}
}

// withoutCredentials returns what a StatusError says of a request. Any header, and the query, may hold a key.
func withoutCredentials(r *http.Request) *http.Request {
	if r == nil {
		return nil
	}
	out := &http.Request{Method: r.Method, Host: r.Host, Header: http.Header{}}
	if r.URL != nil {
		u := *r.URL
		u.User, u.RawQuery = nil, ""
		out.URL = &u
	}
	return out
}
