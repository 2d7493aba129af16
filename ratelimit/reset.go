package ratelimit

import (
	"context"
	"time"

	"github.com/penstock/penstock/scripts"
)

// resetTTL is how long the state in Redis shows to other processes that a Reset happened. It must exceed the time for
// which a process can hold an older state.
const resetTTL = time.Hour

// Reset gives the key's limit its whole burst back. A process that holds an older state drops it with its next call.
func (l *Limiter) Reset(ctx context.Context, key string) error {
	e := l.entry(key)
	call := scripts.NewGCRA([]string{e.key}, []scripts.GCRAState{e.latest()}, 0, 3)
	call.Reset(0, resetTTL)
	from := time.Since(l.start)
	reply, err := call.Run(ctx, l.client)
	if err != nil {
		return &Error{Key: key, Err: err}
	}
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	e.state = scripts.GCRAState{TAT: float64(reply.Now()) / 1e6, Given: reply.Given(0)}
	e.lastLoweredAt = time.Since(l.start)
	e.offset.observe(reply.Now(), from, e.lastLoweredAt)
	e.refusal.Store(nil)
	return nil
}

// latest returns the latest state received from Redis.
func (e *entry) latest() scripts.GCRAState {
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	return e.state
}
