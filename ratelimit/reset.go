package ratelimit

import (
	"context"
	"time"

	"github.com/penstock/penstock/scripts"
)

// memory is for how long after a Reset other processes are told, by the state in Redis, that it happened. Nobody
// remembers longer a limit that refills in that time.
const resetTTL = time.Hour

// Reset makes the key's limit as good as new. Processes that remember an earlier state learn of it with their next
// call.
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

// latest returns the latest state seen.
func (e *entry) latest() scripts.GCRAState {
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	return e.state
}
