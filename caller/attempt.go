package caller

import "context"

// attemptContext is the context of one attempt. It is part of the attempt's grant, so that it costs no allocation.
type attemptContext struct {
	context.Context
	number int
}

type attemptKey struct{}

// Value returns the attempt's number for AttemptFrom.
func (c *attemptContext) Value(key any) any {
	if key == (attemptKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// AttemptFrom returns the number of the attempt that ctx belongs to, from 1; 0 outside of calls. It is for whatever
// stands below Transport, or is called by Do.
func AttemptFrom(ctx context.Context) int {
	if c, ok := ctx.Value(attemptKey{}).(*attemptContext); ok {
		return c.number
	}
	return 0
}
