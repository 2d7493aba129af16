// Package retry decides whether and when a failed call is tried again.
//
// The loop is that of github.com/avast/retry-go. This package makes the decisions, once for each failed attempt:
//
//	          ┌────────────── wait: backoff with jitter, or Retry-After and jitter above it ◄─┐
//	          ▼                                                                               │
//	Do ─► attempt ─ok─► value                                                                 │
//	          │ error                                                                         │
//	          ├─ has the call's context ended? ────────── yes ─► Error{Canceled, Deadline}    │
//	          ├─ not retryable (Hint, Status, Network)? ─ yes ─► Error{PermanentFailure}      │
//	          ├─ last attempt? ────────────────────────── yes ─► Error{AttemptsSpent}         │
//	          ├─ wait past MaxElapsed, or the deadline? ─ yes ─► Error{ElapsedSpent, Deadline}│
//	          └─ budget spent? ────────────────────────── yes ─► Error{BudgetSpent}           │
//	                                                      no ─────────────────────────────────┘
//
// If the next attempt can't start before the deadline, the call fails at once. Its [Error] has the reason and the errors of all
// attempts.
//
// An error is classified by its hint ([Permanent], [After], [Immediately], or another type that is a [Hinter] or a [Delayer]), else by
// [Policy.Retryable], which defaults to the function [Retryable].
//
// The attempts of nested layers multiply. A Do doesn't retry a call that an inner Do gave up. If an SDK below Do retries, too,
// switch off one of the two.
package retry

import (
	"context"
	"time"

	retrygo "github.com/avast/retry-go/v4"
)

// Do calls call until it succeeds, its error isn't retryable, or p allows no further attempt. It passes ctx on unchanged, and
// the attempt's number, from 1.
//
// The error of Do is an *[Error], or describes what is wrong with p. The value beside it is the last attempt's, such as the
// response to an HTTP request. The value of an attempt that another one follows is passed to discard, if there is one, before
// the wait. discard should close it.
//
// Do runs everything on the caller's goroutine. It is safe for concurrent use with the same policy.
func Do[T any](ctx context.Context, p Policy, call func(ctx context.Context, attempt int) (T, error), discard ...func(T)) (T, error) {
	var value, none T
	if err := p.Validate(); err != nil {
		return none, err
	}
	l := newLoop(ctx, p.withDefaults())
	defer l.timer.stop()

	attempt := func() (err error) {
		if l.begin() {
			value, err = call(ctx, l.attempts)
			return l.record(err)
		}
		return context.Cause(ctx)
	}
	onRetry := func(_ uint, err error) {
		for _, f := range discard {
			f(value)
		}
		value = none
		l.announce(err)
	}
	// The value travels beside retry-go, whose DoWithData drops it when there is an error.
	err := retrygo.Do(attempt, l.options(onRetry)...)
	if err != nil {
		return value, l.failure()
	}
	return value, nil
}

// Event is a failed attempt that another one follows.
type Event struct {
	Attempt int           // its number, from 1
	Err     error         // its error
	Wait    time.Duration // until the next attempt
	Elapsed time.Duration // since Do was called
}
