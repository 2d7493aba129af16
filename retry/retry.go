// Package retry decides what is worth trying again, when, and when to stop.
//
// The loop is that of github.com/avast/retry-go; the decisions are made here, once for each failed attempt:
//
//	          ┌────────────── wait: backoff with jitter, or Retry-After and jitter above it ◄─┐
//	          ▼                                                                               │
//	Do ─► attempt ─ok─► value                                                                 │
//	          │ error                                                                         │
//	          ├─ the call's own context is over? ──────── yes ─► Error{Canceled, Deadline}    │
//	          ├─ not worth it (Hint, Status, Worth)? ──── yes ─► Error{PermanentFailure}      │
//	          ├─ last attempt? ────────────────────────── yes ─► Error{AttemptsSpent}         │
//	          ├─ wait past MaxElapsed, or the deadline? ─ yes ─► Error{ElapsedSpent, Deadline}│
//	          └─ budget drained? ──────────────────────── yes ─► Error{BudgetSpent}           │
//	                                                      no ─────────────────────────────────┘
//
// Nothing sleeps towards a deadline that it can't meet: a call that can't start its next attempt in time fails at once,
// and the [Error] says what stood in the way, and carries the error of every attempt.
//
// What an error means is found out in this order: the hint that it carries ([Permanent], [After], [Immediately], or a
// type of one's own that is a [Hinter]), then [Policy.Worth], which defaults to the function [Worth].
//
// Do is one layer. What a Do inside another gave up stays given up; where something else below retries too, an SDK for
// instance, switch one of the two off: attempts multiply.
package retry

import (
	"context"
	"time"

	retrygo "github.com/avast/retry-go/v4"
)

// Do calls call until it succeeds, fails for good, or p says stop. It passes ctx on as it is, and the attempt's number,
// which starts at 1.
//
// An error of Do is a *[Error], or tells what is wrong with p. The value returned beside it is that of the last attempt,
// so that the answer to an HTTP request isn't lost; the values of attempts that are followed by another one go to
// discard, if there is one, before the wait begins. It is the place to close them.
//
// Do runs everything on the caller's goroutine, and may be called from many at once with the same policy.
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

// Event is an attempt that failed and is followed by another.
type Event struct {
	Attempt int           // the one that failed; from 1
	Err     error         // why
	Wait    time.Duration // until the next one begins
	Elapsed time.Duration // since Do was called
}
