package caller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/penstock/penstock/retry"
)

const (
	// maxErrorBody is how much of an error answer is read to judge it.
	maxErrorBody = 64 << 10
	// overtaken is the reason for the end of a request of which another one was answered first.
	overtaken = "overtaken"
	// timedOut is the reason of attempts that took too long.
	timedOut = "timeout"
)

// hint says by the verdict whether, and when, an attempt is followed by another.
func hint(v Verdict, err error) error {
	if v.Outcome == Success {
		return err
	}
	if err == nil {
		err = &outcomeError{v}
	}
	if _, ok := errors.AsType[retry.Hinter](err); ok {
		return err // the caller's own word
	}
	switch v.Outcome {
	case Throttled, KeyRejected, OutOfCredit:
		if v.Scope != ScopeProvider {
			return retry.Immediately(err) // admission keeps it from the key
		}
		return retry.After(err, v.RetryAfter)
	case Overloaded, Transient:
		return retry.After(err, v.RetryAfter)
	default:
		return retry.Permanent(err)
	}
}

// judgeError says what the error of an attempt means.
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
		return c.plan.Profile.Judge(s.response(), s.Body)
	}
	if reason := cut(ctx); errors.Is(reason, ErrLeaseLost) {
		return Verdict{Outcome: Transient, Scope: ScopeProvider, Reason: "lease lost"}
	} else if reason != nil {
		return Verdict{Outcome: Transient, Scope: ScopeProvider, Reason: timedOut}
	}
	if errors.Is(context.Cause(ctx), errOvertaken) {
		return Verdict{Outcome: Canceled, Reason: overtaken}
	}
	if over(ctx) {
		return Verdict{Outcome: Canceled, Reason: "the call's context ended"}
	}
	if retry.Network(err) || retry.Retryable(err) {
		return Verdict{Outcome: Transient, Scope: ScopeProvider, Reason: "network"}
	}
	return Verdict{Outcome: ClientError}
}

// over reports whether a context has ended, or ends in this moment: http.Client with a Timeout lets the request know
// first, and its context after that.
func over(ctx context.Context) bool {
	if a, ok := ctx.(*attemptContext); ok {
		ctx = a.call
	}
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// StatusError is an HTTP answer that isn't a success, as an error for Do.
type StatusError struct {
	StatusCode int
	Header     http.Header
	Body       []byte // its beginning, at most 64 KiB
	Request    *http.Request
}

// Error tells the status. It doesn't tell the body, which may quote the key.
func (e *StatusError) Error() string {
	return fmt.Sprintf("HTTP status %d (%s)", e.StatusCode, http.StatusText(e.StatusCode))
}

// response is the answer without its body.
func (e *StatusError) response() *http.Response {
	return &http.Response{StatusCode: e.StatusCode, Header: e.Header, Request: e.Request}
}

// status returns the HTTP status of an attempt, 0 where there is none.
func status(value any, err error) int {
	if res, ok := value.(*http.Response); ok && res != nil {
		return res.StatusCode
	}
	if s, ok := errors.AsType[*StatusError](err); ok {
		return s.StatusCode
	}
	return 0
}

// CheckResponse returns nil for a status below 400. Else it reads the beginning of the body, closes it, and returns a
// *StatusError, or the *Error that an answer of Transport stands for.
func CheckResponse(res *http.Response) error {
	if res.StatusCode < http.StatusBadRequest {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	_ = res.Body.Close()
	if err := ErrorOf(res); err != nil {
		return err
	}
	return &StatusError{StatusCode: res.StatusCode, Header: res.Header, Body: body, Request: res.Request}
}

// withDefaults fills in what HTTP itself says.
func (p Profile) withDefaults() Profile {
	if p.Name == "" {
		p.Name = "http"
	}
	if p.Authorize == nil {
		p.Authorize = func(r *http.Request, secret string) { r.Header.Set("Authorization", "Bearer "+secret) }
	}
	if p.Estimate == nil {
		p.Estimate = func(*http.Request, []byte) Cost { return nil }
	}
	if p.Model == nil {
		p.Model = func(*http.Request, []byte) string { return "" }
	}
	if p.Judge == nil {
		p.Judge = JudgeStatus
	}
	if p.ErrorBody == nil {
		p.ErrorBody = errorBody
	}
	if p.Idempotent == nil {
		p.Idempotent = IsIdempotent
	}
	return p
}

// JudgeStatus judges an answer by its status code and Retry-After alone.
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
