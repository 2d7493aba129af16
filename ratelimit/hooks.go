package ratelimit

import "time"

// Hooks observe what a Limiter does. Each is optional, is called synchronously on the goroutine concerned, from many
// goroutines at once, and must return quickly.
type Hooks struct {
	// Batch is called after every script call.
	Batch func(BatchInfo)
}

// BatchInfo is one script call.
type BatchInfo struct {
	Calls     int           // calls served, 0 if it only carried refunds and the like
	Keys      int           // Redis keys touched
	RoundTrip time.Duration // from sending to the reply
	Err       error         // nil if there was a reply
}
