package retry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/retry"
)

// The text of an Error has the number of attempts, the reason and the last error.
func TestError_HasReasonAndLastError(t *testing.T) {
	boom := []error{errors.New("first"), errBoom}
	for want, e := range map[string]*retry.Error{
		"gave up after 2 attempts in 1.2s: another attempt would fail like the last: boom": {Reason: retry.PermanentFailure},
		"gave up after 2 attempts in 1.2s: Policy.Attempts is reached: boom": {
			Reason: retry.AttemptsSpent, Wait: time.Second,
		},
		"gave up after 2 attempts in 1.2s: the next attempt is due in 4s, MaxElapsed ends in 800ms: boom": {
			Reason: retry.ElapsedSpent, Wait: 4 * time.Second, Left: 800 * time.Millisecond,
		},
		"gave up after 2 attempts in 1.2s: the next attempt is due in 4s, the deadline is in 800ms: boom": {
			Reason: retry.Deadline, Wait: 4 * time.Second, Left: 800 * time.Millisecond,
		},
		"gave up after 2 attempts in 1.2s: the deadline has passed: boom":                        {Reason: retry.Deadline},
		"gave up after 2 attempts in 1.2s: the retry budget is spent: too many calls fail: boom": {Reason: retry.BudgetSpent},
	} {
		e.Attempts, e.Elapsed, e.Errs = 2, 1200*time.Millisecond, boom
		if got := e.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	canceled := &retry.Error{Reason: retry.Canceled, Attempts: 1, Errs: []error{errBoom, context.Canceled}}
	if want := "gave up after 1 attempt in 0s: canceled (context canceled): boom"; canceled.Error() != want {
		t.Errorf("got %q, want %q", canceled, want)
	}
	early := &retry.Error{Reason: retry.Canceled, Errs: []error{context.Canceled}}
	if want := "gave up after 0 attempts in 0s: canceled (context canceled)"; early.Error() != want {
		t.Errorf("got %q, want %q", early, want)
	}
}

// Hints of nil are nil, and a hint doesn't change the error's text.
func TestHints_OfNilAreNil(t *testing.T) {
	if retry.After(nil, time.Second) != nil || retry.Permanent(nil) != nil || retry.Immediately(nil) != nil || retry.Retryable(nil) {
		t.Error("hints of nil: got an error, want nil")
	}
	if err := retry.Permanent(errBoom); err.Error() != "boom" || !errors.Is(err, errBoom) {
		t.Errorf("an error with a hint: got %v, want boom", err)
	}
}
