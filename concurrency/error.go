package concurrency

import (
	"context"
	"errors"
	"fmt"
)

// Errors that a caller may branch on, with errors.Is. They come wrapped in an *Error that names the semaphore.
var (
	// ErrClosed: the semaphore was closed.
	ErrClosed = errors.New("the semaphore is closed")
	// ErrFull: TryAcquire found no permit that it could have at once.
	ErrFull = errors.New("no permit is free")
	// ErrTooLarge: more permits were asked for than the limit has, so that waiting would never end.
	ErrTooLarge = errors.New("the request is larger than the limit")
	// ErrUnavailable: Redis can't be reached, or refuses, and the policy is FailClosed.
	ErrUnavailable = errors.New("redis is unavailable")
	// ErrLeaseLost is the cause of the end of a Lease's context if the lease ended before it was released.
	ErrLeaseLost = errors.New("the lease is lost")
)

// Causes of a lost lease. Each is an ErrLeaseLost.
var (
	errExpired = fmt.Errorf("%w: the session wasn't renewed in time", ErrLeaseLost)
	errRevoked = fmt.Errorf("%w: the session was revoked", ErrLeaseLost)
	errTooLong = fmt.Errorf("%w: it was held for longer than its maximum", ErrLeaseLost)
	errClosing = fmt.Errorf("%w: %w", ErrLeaseLost, ErrClosed)
)

// errReleased is the cause of the end of a released lease's context.
var errReleased = fmt.Errorf("the lease was released: %w", context.Canceled)

// Error is why a permit couldn't be had. Unwrap gives one of this package's errors, the cause of the caller's context,
// or Redis' error.
type Error struct {
	Semaphore string
	Err       error
}

// Error names the semaphore and the reason.
func (e *Error) Error() string { return fmt.Sprintf("semaphore %q: %v", e.Semaphore, e.Err) }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }
