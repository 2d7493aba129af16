package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/scripts"
)

// resetTTL is how long the state in Redis shows to other processes that a Reset happened. It must exceed the time for
// which a process can hold an older state.
const resetTTL = time.Hour

// Reset gives the key's limit its whole burst back. A process that holds an older state drops it with its next call. If
// the key holds something other than a limit's state, Reset deletes it. If ctx ends or Config.Timeout passes before the
// reply, the limit may be reset later.
func (l *Limiter) Reset(ctx context.Context, key string) error {
	if err := l.reset(ctx, key); err != nil {
		return &Error{Key: key, Err: err}
	}
	return nil
}

// reset calls the script, on a goroutine of its own if the wait for it can end.
func (l *Limiter) reset(ctx context.Context, key string) error {
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	e := l.pinned(key)
	if err := e.node().circuit.refuse(); err != nil {
		e.unpin()
		return err
	}
	if ctx.Done() == nil && l.cfg.Timeout == 0 {
		return l.resetNow(ctx, e)
	}
	var timeout <-chan time.Time
	if l.cfg.Timeout > 0 {
		timer := time.NewTimer(l.cfg.Timeout)
		defer timer.Stop()
		timeout = timer.C
	}
	done := make(chan error, 1)
	go func() { done <- l.resetNow(context.WithoutCancel(ctx), e) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return contextError(ctx)
	case <-timeout:
		return fmt.Errorf("%w: no reply within %v", ErrUnavailable, l.cfg.Timeout)
	}
}

// resetNow calls the script and waits for its reply. It unpins the entry.
func (l *Limiter) resetNow(ctx context.Context, e *entry) error {
	defer e.unpin()
	from := time.Since(l.start)
	reply, err := l.callReset(ctx, e)
	if wrongType(err) {
		// Nothing else can be done with the key, and redis_rate's Reset deletes it, too.
		if err := l.client.Process(ctx, redis.NewIntCmd(ctx, "del", e.key)); err != nil {
			return err
		}
		reply, err = l.callReset(ctx, e)
	}
	if err != nil {
		return err
	}
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	e.state = scripts.GCRAState{TAT: float64(reply.Now()) / 1e6, Given: reply.Given(0)}
	e.lastLoweredAt = time.Since(l.start)
	e.offset.observe(reply.Now(), from, e.lastLoweredAt)
	e.refusal.Store(nil)
	delete(e.shard.faulty, e)
	return nil
}

// pinned returns the entry of a key, which is not evicted before unpin.
func (l *Limiter) pinned(key string) *entry {
	for {
		e := l.entry(key)
		e.shard.mu.Lock()
		if !e.evicted {
			e.uses++
			e.shard.mu.Unlock()
			return e
		}
		e.shard.mu.Unlock()
		runtime.Gosched() // the entry was just evicted
	}
}

func (e *entry) unpin() {
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	e.uses--
}

func (l *Limiter) callReset(ctx context.Context, e *entry) (scripts.GCRAReply, error) {
	call := scripts.NewGCRA([]string{e.key}, []scripts.GCRAState{e.latest()}, 0, 3)
	call.Reset(0, resetTTL)
	return call.Run(ctx, l.client)
}

// wrongType reports whether Redis refused a script because its key holds something else.
func wrongType(err error) bool {
	reply, ok := errors.AsType[redis.Error](err)
	return ok && strings.Contains(reply.Error(), "WRONGTYPE")
}

// latest returns the latest state received from Redis.
func (e *entry) latest() scripts.GCRAState {
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	return e.state
}
