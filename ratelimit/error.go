package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Causes of an *Error, besides the errors of the context and of Redis.
var (
	// ErrInvalid: the limit or the cost is invalid; the message says why. No script was called.
	ErrInvalid = errors.New("invalid rate limit")
	// ErrNeverFits: the cost exceeds the limit's burst. Lower the cost or raise the burst.
	ErrNeverFits = errors.New("cost exceeds the burst and can never be admitted")
	// ErrDeadline: the booking would come after the context's deadline. Nothing was charged. For errors.Is it is also
	// context.DeadlineExceeded.
	ErrDeadline = fmt.Errorf("no capacity before the deadline, extend it or reduce load: %w", context.DeadlineExceeded)
	// ErrMaxWait: the booking would come later than Config.MaxWait, or the maxWait of WaitWithin or ReserveWithin, permits.
	// Nothing was charged.
	ErrMaxWait = errors.New("the wait would exceed the maximum wait")
	// ErrCrossSlot: the limits of one call are on different nodes of a Redis Cluster or Ring. Give their keys a common
	// hash tag, as in "{customer}:requests" and "{customer}:tokens".
	ErrCrossSlot = errors.New("limits of one call need a common hash tag in their keys")
	// ErrUnavailable: Redis is unavailable, or was when it was last asked.
	ErrUnavailable = errors.New("redis is unavailable")
	// ErrSettled: the reservation was settled or cancelled before.
	ErrSettled = errors.New("reservation was already settled or cancelled")
)

// Error says why a call was not answered. Unwrap returns the cause: an error of this package, of the context, or of
// package scripts. The latter says whether Redis may have charged the call.
type Error struct {
	Key   string // as given by the caller; the first key if no single limit is the cause
	Limit Limit
	Cost  int
	// RetryAfter is the wait that the refused booking would need; 0 for other causes.
	RetryAfter time.Duration
	Err        error
}

// Error returns the key, the limit, the cost and the cause.
func (e *Error) Error() string {
	if e.RetryAfter > 0 {
		return fmt.Sprintf("rate limit %q (%v, cost %d): %v: booking is %v away", e.Key, e.Limit, e.Cost, e.Err, e.RetryAfter)
	}
	return fmt.Sprintf("rate limit %q (%v, cost %d): %v", e.Key, e.Limit, e.Cost, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
