package caller

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// attemptContext is the context of one attempt. It is part of the attempt's grant, so that it costs no allocation unless
// the attempt may end before the call: its time is bounded, or it hangs on a permit.
type attemptContext struct {
	context.Context
	call   context.Context // the call's, which the attempt's bound leaves alone
	number int
	until  time.Time // when the attempt's time is up; zero: it has no bound of its own
	timer  *time.Timer
	cancel context.CancelCauseFunc // nil: it ends with the call's alone
	unhook func() bool             // from the lease; nil: it doesn't hang on one
	then   func()                  // called at its end; nil: nothing
}

type attemptKey struct{}

// Value returns the attempt's number for AttemptFrom.
func (c *attemptContext) Value(key any) any {
	if key == (attemptKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// Deadline is the attempt's own, if that is the earlier one.
func (c *attemptContext) Deadline() (time.Time, bool) {
	at, ok := c.Context.Deadline()
	if !c.until.IsZero() && (!ok || c.until.Before(at)) {
		return c.until, true
	}
	return at, ok
}

// answered lifts the bound on the attempt's time, so that what is left of the answer can be read. It reports false if the
// time was up before; then the context has ended.
func (c *attemptContext) answered() bool {
	if c.timer == nil || c.timer.Stop() {
		return true
	}
	<-c.Done()
	return false
}

// end cancels whatever still goes on in the context, if it can end before the call's. It may be repeated.
func (c *attemptContext) end() {
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.unhook != nil {
		c.unhook()
	}
	if c.cancel != nil {
		c.cancel(nil)
	}
	if c.then != nil {
		c.then()
	}
}

// AttemptFrom returns the number of the attempt that ctx belongs to, from 1; 0 outside of calls. It is for whatever
// stands below Transport, or is called by Do.
func AttemptFrom(ctx context.Context) int {
	if c, ok := ctx.Value(attemptKey{}).(*attemptContext); ok {
		return c.number
	}
	return 0
}

// bounded returns a context for the whole call, without the reading of its answer.
func (p *settings) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.Timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, p.Timeout, ErrTimeout)
}

// bound is how long an attempt may take, and what it ends with then; 0 for no bound.
type bound struct {
	limit time.Duration
	err   error
}

// bound returns the bound of an attempt that begins now, of a call whose own context is ctx.
func (p *settings) bound(ctx context.Context, o Options) bound {
	b := bound{p.AttemptTimeout, ErrAttemptTimeout}
	if o.AttemptTimeout > 0 {
		b.limit = o.AttemptTimeout
	}
	if p.Timeout == 0 {
		return b
	}
	deadline, _ := ctx.Deadline()
	if left := max(time.Until(deadline), 1); b.limit == 0 || left < b.limit {
		b = bound{left, ErrTimeout}
	}
	return b
}

// begin makes the grant that of an attempt of the call whose own context is call, and returns the attempt's context.
func (g *Grant) begin(call context.Context, at course, b bound) context.Context {
	g.Attempt = at.number
	g.ctx = attemptContext{Context: at.ctx, call: call, number: at.number, then: at.end}
	lease := g.admission.Lost()
	if b.limit == 0 && lease == nil {
		return &g.ctx
	}
	ctx, cancel := context.WithCancelCause(at.ctx)
	g.ctx.Context, g.ctx.cancel = ctx, cancel
	if b.limit > 0 {
		g.ctx.until = time.Now().Add(b.limit)
		g.ctx.timer = time.AfterFunc(b.limit, func() { cancel(b.err) })
	}
	if lease != nil {
		g.ctx.unhook = context.AfterFunc(lease, func() { cancel(ErrLeaseLost) })
	}
	return &g.ctx
}

// end is for an attempt that is over: the permit goes back, and its context ends.
func (g *Grant) end() {
	g.ctx.end()
	g.release()
}

// cut returns why the pool ended the attempt of ctx, nil if it didn't.
func cut(ctx context.Context) error {
	err := context.Cause(ctx)
	if err == ErrAttemptTimeout || err == ErrTimeout || err == ErrLeaseLost { //nolint:errorlint // the very values
		return err
	}
	return nil
}

// explained is an attempt's error, with the reason why the pool ended it, if it did.
func explained(ctx context.Context, err error) error {
	if reason := cut(ctx); err != nil && reason != nil && !errors.Is(err, reason) {
		return fmt.Errorf("%w: %w", reason, err)
	}
	return err
}

// What bounds the time of calls and attempts. Both are net.Errors whose Timeout() is true.
var (
	// ErrAttemptTimeout: an attempt took longer than AttemptTimeout.
	ErrAttemptTimeout error = &timeoutError{"the attempt took longer than AttemptTimeout allows"}
	// ErrTimeout: the call took longer than Config.Timeout.
	ErrTimeout error = &timeoutError{"the call took longer than its Timeout allows"}
)

type timeoutError struct{ text string }

func (e *timeoutError) Error() string   { return e.text }
func (e *timeoutError) Timeout() bool   { return true }
func (e *timeoutError) Temporary() bool { return true }
