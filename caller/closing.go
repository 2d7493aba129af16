package caller

import (
	"context"
	"sync"
)

// closingContext is a call's context that also ends with the Pool, for the waits between attempts: an attempt in flight goes
// on. What that takes is made when a wait needs it, because most calls have one attempt. It belongs to one goroutine.
type closingContext struct {
	context.Context
	closing context.Context // ends when Close begins
	once    sync.Once
	both    context.Context // nil: not made yet
	cancel  context.CancelCauseFunc
	stop    func() bool
}

// Done returns a channel that is closed when either has ended.
func (c *closingContext) Done() <-chan struct{} {
	c.once.Do(func() {
		c.both, c.cancel = context.WithCancelCause(c.Context)
		c.stop = context.AfterFunc(c.closing, func() { c.cancel(ErrClosed) })
	})
	return c.both.Done()
}

// Err returns why the context has ended; nil: it hasn't.
func (c *closingContext) Err() error {
	if c.both != nil {
		return c.both.Err()
	}
	return c.Context.Err()
}

// Value returns a value of the context.
func (c *closingContext) Value(key any) any {
	if c.both != nil {
		return c.both.Value(key)
	}
	return c.Context.Value(key)
}

// end releases what the context holds.
func (c *closingContext) end() {
	if c.both != nil {
		c.stop()
		c.cancel(nil)
	}
}
