package caller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// Why the pool ends a call or an attempt that takes too long. All are net.Errors whose Timeout method returns true.
var (
	// ErrAttemptTimeout: an attempt took longer than AttemptTimeout.
	ErrAttemptTimeout error = &timeoutError{"the attempt took longer than AttemptTimeout: raise it or send less"}
	// ErrTimeout: the call took longer than Config.Timeout, or DefaultTimeout.
	ErrTimeout error = &timeoutError{"the call took longer than Timeout: raise it or send less"}
	// ErrIdleTimeout: no byte of a response came for IdleTimeout.
	ErrIdleTimeout error = &timeoutError{"no byte of the response came for IdleTimeout: raise it if the provider pauses for longer"}
	// ErrMaxHold: an attempt held its permit for longer than MaxHold.
	ErrMaxHold error = &timeoutError{"the attempt held its permit for longer than MaxHold: raise it or read the response faster"}
)

type timeoutError struct{ text string }

func (e *timeoutError) Error() string   { return e.text }
func (e *timeoutError) Timeout() bool   { return true }
func (e *timeoutError) Temporary() bool { return true }

// attemptContext is the context of one attempt. It is part of the attempt's grant and costs no allocation of its own,
// unless the attempt can end before the call: by a timeout or with the lease of its permit.
type attemptContext struct {
	context.Context
	call      context.Context // the call's, which goes on when the attempt's time is up
	number    int
	grant     *Grant
	until     time.Time // end of the attempt's time; zero: it has no timeout
	timer     *time.Timer
	hold      *time.Timer             // ends the attempt after MaxHold; nil: no bound
	cancel    context.CancelCauseFunc // nil: the attempt ends with the call alone
	stopWatch func() bool             // of the lease; nil: there is none
	onEnd     func()                  // called at the attempt's end. Optional
}

type attemptKey struct{}

// Value returns the context itself for AttemptFrom.
func (c *attemptContext) Value(key any) any {
	if key == (attemptKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// Deadline returns the earlier one of the attempt's and the call's deadlines.
func (c *attemptContext) Deadline() (time.Time, bool) {
	at, ok := c.Context.Deadline()
	if !c.until.IsZero() && (!ok || c.until.Before(at)) {
		return c.until, true
	}
	return at, ok
}

// answered ends the attempt's timeout, so that the response can be read for longer. It reports false if the time was up
// already; the context has then ended.
func (c *attemptContext) answered() bool {
	if c.timer == nil || c.timer.Stop() {
		return true
	}
	<-c.Done()
	return false
}

// end cancels the context if it can end before the call's. Further calls do nothing.
func (c *attemptContext) end() {
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.hold != nil {
		c.hold.Stop()
	}
	if c.stopWatch != nil {
		c.stopWatch()
	}
	if c.cancel != nil {
		c.cancel(nil)
	}
	if c.onEnd != nil {
		c.onEnd()
	}
}

// AttemptFrom returns the number of the attempt that ctx belongs to, from 1, or 0 outside of calls. It serves base
// transports and functions that Do runs.
func AttemptFrom(ctx context.Context) int {
	if c, ok := ctx.Value(attemptKey{}).(*attemptContext); ok {
		return c.number
	}
	return 0
}

// GrantFrom returns the grant of the attempt that ctx belongs to, or nil outside of calls. It serves base transports and
// functions that Do runs.
func GrantFrom(ctx context.Context) *Grant {
	if c, ok := ctx.Value(attemptKey{}).(*attemptContext); ok {
		return c.grant
	}
	return nil
}

// withTimeout returns a context that ends when the call's time is up, and when that is; zero: the call's own context alone
// bounds it. A response may be read for longer.
func (s *settings) withTimeout(ctx context.Context, o *Options) (bounded context.Context, cancel context.CancelFunc, until time.Time) {
	_, own := ctx.Deadline()
	timeout := cmp.Or(o.Timeout, s.Timeout)
	switch {
	case timeout > 0:
		bounded, cancel = context.WithTimeoutCause(ctx, timeout, ErrTimeout)
		until, _ = bounded.Deadline()
	case timeout == 0 && !own:
		bounded, cancel = context.WithTimeoutCause(ctx, DefaultTimeout, ErrTimeout)
		until, _ = bounded.Deadline()
		bounded = defaultBound{bounded}
	default:
		return ctx, func() {}, time.Time{}
	}
	return bounded, cancel, until
}

// defaultBound is the context of a call that DefaultTimeout bounds. It has no deadline, because the user has chosen none:
// the call isn't refused in advance.
type defaultBound struct{ context.Context }

// Deadline reports that there is none.
func (defaultBound) Deadline() (time.Time, bool) { return time.Time{}, false }

// hasDeadline reports whether a call with the context has a deadline that its user has chosen.
func (s *settings) hasDeadline(ctx context.Context, o *Options) bool {
	_, ok := ctx.Deadline()
	return ok || s.Timeout > 0 || o.Timeout > 0
}

// attemptTimeout is the timeout of an attempt and its error.
type attemptTimeout struct {
	after time.Duration // 0: no timeout
	err   error
}

// attemptTimeout returns the timeout of an attempt that starts now: that of the options or the configuration, or what is
// left of the call's.
func (k *call[T]) attemptTimeout() attemptTimeout {
	t := attemptTimeout{cmp.Or(k.opts.AttemptTimeout, k.pool.settings.AttemptTimeout), ErrAttemptTimeout}
	if k.until.IsZero() {
		return t
	}
	if left := max(time.Until(k.until), 1); t.after == 0 || left < t.after {
		t = attemptTimeout{left, ErrTimeout}
	}
	return t
}

// cancelCause returns the reason for which the pool ended the attempt, or nil if it didn't.
func cancelCause(ctx context.Context) error {
	err := context.Cause(ctx)
	switch err {
	case ErrAttemptTimeout, ErrTimeout, ErrIdleTimeout, ErrMaxHold, ErrLeaseLost: //nolint:errorlint // the very values
		return err
	}
	return nil
}

// withCancelCause adds to an attempt's error the reason for which the pool ended the attempt, if it did.
func withCancelCause(ctx context.Context, err error) error {
	if reason := cancelCause(ctx); err != nil && reason != nil && !errors.Is(err, reason) {
		return fmt.Errorf("%w: %w", reason, err)
	}
	return err
}
