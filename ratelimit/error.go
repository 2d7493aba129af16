package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// What an *Error can wrap, besides the errors of the context and of Redis.
var (
	// ErrInvalid: the limit or the cost makes no sense; the message says why. Nothing was sent to Redis.
	ErrInvalid = errors.New("invalid rate limit")
	// ErrNeverFits: the cost is above the limit's burst, so no waiting will help. Lower the cost or raise the burst.
	ErrNeverFits = errors.New("cost exceeds the burst and can never be admitted")
	// ErrDeadline: the place in time would lie past the context's deadline. Nothing was charged. It is also a
	// context.DeadlineExceeded for errors.Is.
	ErrDeadline = fmt.Errorf("the wait would go past the deadline: %w", context.DeadlineExceeded)
	// ErrMaxWait: the place in time would lie beyond Config.MaxWait. Nothing was charged.
	ErrMaxWait = errors.New("the wait would exceed the maximum")
	// ErrCrossSlot: the limits of one call are on different nodes of a Redis Cluster or Ring. Give their keys a
	// common hash tag, as in "{customer}:requests" and "{customer}:tokens".
	ErrCrossSlot = errors.New("limits of one call need a common hash tag in their keys")
	// ErrUnavailable: Redis could not be asked, recently or now.
	ErrUnavailable = errors.New("redis is unavailable")
	// ErrSettled: the reservation was settled or cancelled before.
	ErrSettled = errors.New("reservation was already settled or cancelled")
)

// Error is why a call was not answered. Unwrap gives the cause: one of this package's errors, the context's, or an
// error of package scripts that says whether Redis may have charged it.
type Error struct {
	Key   string // as given by the caller; the first one if no single limit is the cause
	Limit Limit
	Cost  int
	// RetryAfter is how far away the place is that was refused, if that is the cause; else 0.
	RetryAfter time.Duration
	Err        error
}

// Error names the key, the limit and the cost.
func (e *Error) Error() string {
	if e.RetryAfter > 0 {
		return fmt.Sprintf("rate limit %q (%v, cost %d): %v: place is %v away", e.Key, e.Limit, e.Cost, e.Err, e.RetryAfter)
	}
	return fmt.Sprintf("rate limit %q (%v, cost %d): %v", e.Key, e.Limit, e.Cost, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
