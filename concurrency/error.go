package concurrency

import (
	"context"
	"errors"
	"fmt"
)

// Errors that a caller may branch on, with errors.Is. They come wrapped in an *Error that names the semaphore.
var (
	// ErrClosed: Close was called.
	ErrClosed = errors.New("the semaphore is closed")
	// ErrFull: TryAcquire found no permit that is free now.
	ErrFull = errors.New("no permit is free")
	// ErrDeadline: the context's deadline passed before a permit was free. It is also a context.DeadlineExceeded.
	ErrDeadline = fmt.Errorf("no permit before the deadline: %w", context.DeadlineExceeded)
	// ErrMaxWait: the time of WithMaxWait passed before a permit was free.
	ErrMaxWait = errors.New("no permit within the maximum wait")
	// ErrNeverFits: the request is larger than the limit, so that it would wait for ever.
	ErrNeverFits = errors.New("the request is larger than the limit")
	// ErrUnavailable: Redis can't be reached, or refuses the script, and Config.Outage grants nothing.
	ErrUnavailable = errors.New("redis is unavailable")
	// ErrLeaseLost is the cause of the end of a Lease's context if the lease ends before its release.
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

// Error is the reason for which a request got no permit. Unwrap returns an error of this package, of the caller's context,
// or of Redis.
type Error struct {
	Semaphore string
	Err       error
}

// Error names the semaphore and the reason.
func (e *Error) Error() string { return fmt.Sprintf("semaphore %q: %v", e.Semaphore, e.Err) }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// contextError describes the end of a caller's context. It wraps the context's error, and the cause where there is one.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	caused := cause != err //nolint:errorlint // without a cause of the caller's, Cause returns the context's error itself
	if errors.Is(err, context.DeadlineExceeded) {
		err = ErrDeadline
	}
	if !caused {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}
