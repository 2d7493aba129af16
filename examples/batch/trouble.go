package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
)

// trouble is why an attempt brought neither an answer nor a refusal for good.
type trouble struct {
	reason     string
	retryAfter time.Duration
	// broken is set where the provider sent something that isn't an answer. The request itself may be the cause.
	broken bool
	// keys is set where no key can serve the request.
	keys bool
	// retried is set where the pool has made all its attempts.
	retried bool
	err     error
}

func (t *trouble) Error() string { return t.reason }

func (t *trouble) Unwrap() error { return t.err }

// Errors of an answer's body.
var (
	errStalled   = errors.New("the answer stalled")
	errNotAnswer = errors.New("the answer isn't a JSON object without an error in it")
)

// troubleOf returns the trouble behind an error of the pool, or nil where waiting doesn't help.
func troubleOf(ctx context.Context, err error, patience time.Duration) *trouble {
	if ctx.Err() != nil || errors.Is(err, caller.ErrClosed) || errors.Is(err, caller.ErrNeverFits) {
		return nil
	}
	t := &trouble{reason: err.Error(), err: err}
	e, ok := errors.AsType[*caller.Error](err)
	if !ok {
		return nil // the request can't be sent: its URL, for instance
	}
	t.retryAfter = e.RetryAfter
	if _, rejected := errors.AsType[redis.Error](err); rejected {
		return nil // Redis doesn't allow the commands
	}
	switch {
	case errors.Is(err, caller.ErrNoKeys) && (e.RetryAfter == 0 || e.RetryAfter > patience):
		return nil
	case errors.Is(err, caller.ErrNoKeys):
		t.reason, t.keys = "every key is out of use", true
	case errors.Is(err, caller.ErrDeadline):
		t.reason = "no capacity within the configured timeout"
	case e.Attempts > 0:
		t.reason = "no answer: " + err.Error()
	}
	return t
}

// judge reads an answer: it returns nil for an answer, a *refusal for one that is refused for good, and else the trouble.
func (c *client) judge(res *http.Response, answer *response, body []byte) error {
	v := c.profile.Judge(res, body)
	why := fmt.Sprintf("%v (status %d)", v.Outcome, res.StatusCode)
	busy := &trouble{reason: why, retryAfter: v.RetryAfter}
	switch status := res.StatusCode; {
	case status/100 == 2 && v.Outcome == caller.Success && isAnswer(body):
		return nil
	case v.Outcome == caller.Throttled, v.Outcome == caller.Overloaded, unreached(status):
		return busy
	case v.Outcome == caller.KeyRejected, v.Outcome == caller.OutOfCredit:
		return &trouble{reason: "every key is rejected: " + why, keys: true, err: &refusal{answer}}
	case status/100 == 2 && v.Outcome != caller.ClientError:
		return &trouble{reason: errNotAnswer.Error(), broken: true, err: errNotAnswer}
	}
	return &refusal{answer}
}

// unreached reports whether a status means that a gateway got no answer from the provider.
func unreached(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusGatewayTimeout || status >= 520 && status <= 530
}

// isAnswer reports whether a body is a JSON object without an error in it.
func isAnswer(body []byte) bool {
	var object struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &object) != nil || !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return false
	}
	return len(object.Error) == 0 || bytes.Equal(object.Error, []byte("null"))
}

// sendKey is the key of a *sending in a request's context.
type sendKey struct{}

// sending is a request that the pool is sending. The pool waits out what has no effect, within the time that a call may take.
// A run ends that wait, so that all of its requests wait together and its progress says why.
type sending struct {
	patience time.Duration // the time for which attempts may fail
	cancel   context.CancelCauseFunc

	mu    sync.Mutex
	first time.Time // when the first attempt failed; zero: none has
}

// attempted is the hook for attempts that have ended.
func attempted(ctx context.Context, a caller.Attempt) {
	s, ok := ctx.Value(sendKey{}).(*sending)
	if !ok || !a.Retrying {
		return
	}
	switch o := a.Verdict.Outcome; {
	case o == caller.Throttled, o == caller.Overloaded, o == caller.Transient && a.Status/100 != 2:
		s.failed(a)
	}
}

// failed ends the sending if its attempts have failed for too long.
func (s *sending) failed(a caller.Attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.first.IsZero() {
		s.first = now
		return
	}
	if now.Sub(s.first) >= s.patience {
		reason := fmt.Sprintf("%v (status %d)", a.Verdict.Outcome, a.Status)
		if a.Err != nil {
			reason = "no answer: " + a.Err.Error()
		}
		s.cancel(&trouble{reason: reason, retryAfter: a.Verdict.RetryAfter, err: a.Err})
	}
}
