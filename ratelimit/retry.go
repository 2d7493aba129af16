package ratelimit

import "time"

// RetryDelay returns RetryAfter. Package retry reads it: a call whose deadline comes first isn't tried again.
func (e *Error) RetryDelay() time.Duration { return e.RetryAfter }
