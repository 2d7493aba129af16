package retry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/retry"
)

// An error says what was tried, what stood in the way, and what failed.
func TestErrorText(t *testing.T) {
	boom := []error{errors.New("first"), errBoom}
	for want, e := range map[string]*retry.Error{
		"gave up after 2 attempts in 1.2s: not worth another: boom": {Reason: retry.PermanentFailure},
		"gave up after 2 attempts in 1.2s: no more are allowed (raise Attempts): boom": {
			Reason: retry.AttemptsSpent, Wait: time.Second,
		},
		"gave up after 2 attempts in 1.2s: the next is due in 4s, MaxElapsed ends in 800ms: boom": {
			Reason: retry.ElapsedSpent, Wait: 4 * time.Second, Left: 800 * time.Millisecond,
		},
		"gave up after 2 attempts in 1.2s: the next is due in 4s, the deadline is in 800ms: boom": {
			Reason: retry.Deadline, Wait: 4 * time.Second, Left: 800 * time.Millisecond,
		},
		"gave up after 2 attempts in 1.2s: the deadline has passed: boom":                        {Reason: retry.Deadline},
		"gave up after 2 attempts in 1.2s: the retry budget is spent; too many calls fail: boom": {Reason: retry.BudgetSpent},
	} {
		e.Attempts, e.Elapsed, e.Errs = 2, 1200*time.Millisecond, boom
		if got := e.Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	canceled := &retry.Error{Reason: retry.Canceled, Attempts: 1, Errs: []error{errBoom, context.Canceled}}
	if want := "gave up after 1 attempt in 0s: canceled (context canceled): boom"; canceled.Error() != want {
		t.Errorf("got  %s\nwant %s", canceled, want)
	}
	early := &retry.Error{Reason: retry.Canceled, Errs: []error{context.Canceled}}
	if want := "gave up after 0 attempts in 0s: canceled (context canceled)"; early.Error() != want {
		t.Errorf("got  %s\nwant %s", early, want)
	}
}

func TestHintsOfNoErrorAreNoErrors(t *testing.T) {
	if retry.After(nil, time.Second) != nil || retry.Permanent(nil) != nil || retry.Immediately(nil) != nil || retry.Worth(nil) {
		t.Error("nil became an error")
	}
	if err := retry.Permanent(errBoom); err.Error() != "boom" || !errors.Is(err, errBoom) {
		t.Errorf("a hint changes the error: %v", err)
	}
}
