package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// submit returns the answer to a call, from Redis or by Config.Outage. latest bounds the time of a booking. The items'
// entries are updated.
func (l *Limiter) submit(ctx context.Context, o op, items []item, latest bound) (ticket, error) {
	t, err := l.once(ctx, o, items, latest)
	if err == nil && (t.g.batch.clockSetBack && t.g.delayed(t.i) || t.g.batch.deleted != nil) {
		l.giveBack(t.g.refund(t.i))
		t, err = l.once(ctx, o, items, latest) // in a batch that first reports the step, or what the deletion gives back
	}
	for n := 1; err != nil && n < tries && transient(err); n++ {
		if !pause(ctx, tryPause(n)) {
			return ticket{}, contextError(ctx)
		}
		t, err = l.once(ctx, o, items, latest)
	}
	if err != nil && ended(ctx) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err) // the context's timer is late
	}
	if err == nil || ended(ctx) || keyFault(err) {
		return t, err
	}
	return l.withoutRedis(ctx, o, items, latest, err)
}

// pause waits for d. It returns false if the context ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// once puts a call into a batch and waits for its answer.
func (l *Limiter) once(ctx context.Context, o op, items []item, latest bound) (ticket, error) {
	done := ctx.Done()
	if done != nil && ctx.Err() != nil {
		return ticket{}, contextError(ctx)
	}
	// A call whose context can't end doesn't need a runner.
	inline := (done == nil || l.cfg.Inline) && l.cfg.Timeout == 0
	t, ok := items[0].e.shard.join(ctx, o, items, latest, inline)
	for !ok {
		runtime.Gosched() // the entry was just evicted
		for i := range items {
			items[i].e = l.entry(items[i].e.key[len(l.cfg.Prefix):])
		}
		t, ok = items[0].e.shard.join(ctx, o, items, latest, inline)
	}
	if t.err != nil {
		return ticket{}, t.err
	}
	b := t.b
	switch {
	case t.lead && inline:
		if next := b.run(nil); next != nil {
			l.runners.start(next)
		}
		return t, t.result(b)
	case t.lead:
		l.runners.start(b)
	}
	if done == nil {
		<-t.done
		return t, t.result(b)
	}
	select {
	case <-t.done:
		return t, t.result(b)
	case <-done:
	}
	if b.shard.leave(t) {
		return ticket{}, contextError(ctx)
	}
	return t, t.result(b)
}

// result returns the error of the call, whose batch b has ended.
func (t *ticket) result(b *batch) error {
	if b.err != nil {
		return b.err // the call is answered, and b may still be isolated
	}
	return t.g.batch.err
}

// ended reports whether the context has ended, by its deadline if not by its Done channel.
func ended(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}
