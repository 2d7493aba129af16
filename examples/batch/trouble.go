package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
		t.reason = "every key is out of use"
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
