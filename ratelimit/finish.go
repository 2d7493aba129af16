package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/penstock/penstock/scripts"
)

// exchange is one script call that has ended.
type exchange struct {
	sent     bool // false: there was nothing to send
	reply    scripts.GCRAReply
	err      error
	from, to time.Time
	gaveUp   bool // err comes from the end of the callers' contexts, and says nothing about Redis
}

// finish distributes the answers of the batch. It returns the next batch for the caller to send. If there is none, it
// returns nil and keeps r for later.
func (b *batch) finish(r *runner, x exchange, isolated bool) *batch {
	sh := b.shard
	sh.mu.Lock()
	abandoned := b.ended
	refusal := x.err
	if isolated {
		x.err = nil // the parts have their own errors
		b.release()
	} else {
		b.settle(x, abandoned)
	}
	var next *batch
	change := circuitSame
	if !abandoned {
		next, change = b.end(x)
	}
	sh.mu.Unlock()
	if x.sent && x.err == nil {
		sh.l.presence.report(b.ctx, sh.l)
	}
	h := sh.l.cfg.Hooks.ScriptCalled
	if (h == nil || !x.sent) && change == circuitSame {
		if r != nil && next == nil {
			sh.l.runners.keep(r) // before the callers wake up, since they may need it
		}
		b.wake(abandoned)
		return next
	}
	if next != nil {
		sh.l.runners.start(next) // the hook may be slow
	}
	b.wake(abandoned)
	sh.l.cfg.Hooks.circuitChanged(b.ctx, change, x.err)
	if x.sent {
		b.observe(x, refusal)
	}
	if r != nil {
		sh.l.runners.keep(r)
	}
	return nil
}

// observe calls the hook for the batch's script call.
func (b *batch) observe(x exchange, err error) {
	if h := b.shard.l.cfg.Hooks.ScriptCalled; h != nil {
		h(b.ctx, ScriptCall{Calls: b.calls, Keys: len(b.entries), RoundTrip: x.to.Sub(x.from), Err: err})
	}
}

// settle applies the result of the batch's script call. late means that the callers are answered already: what the
// script granted them is given back. The caller holds sh.mu.
func (b *batch) settle(x exchange, late bool) {
	sh := b.shard
	if !late {
		b.err = x.err
	}
	if x.sent && x.err == nil {
		if late {
			b.leaveAll()
		}
		b.applyReply(x.reply, x.from, x.to)
	}
	b.release()
	for i := range b.adjust {
		b.adjust[i].e.pendingAdjustments--
		b.adjust[i].e.lastLoweredAt = x.to.Sub(sh.l.start)
	}
	switch {
	case x.err != nil && scripts.OutcomeOf(x.err) == scripts.NotRun:
		sh.putBack(b.adjust)
	case x.sent:
		b.settled(x.reply, x.err)
	}
}

// release ends the batch's use of its entries. The caller holds sh.mu.
func (b *batch) release() {
	for _, e := range b.entries {
		e.uses--
		if e.batch == b {
			e.batch, e.last = nil, nil // so that the entry doesn't keep the batch
		}
	}
}

// leaveAll makes all calls of the batch leave it. The caller holds sh.mu.
func (b *batch) leaveAll() {
	for _, g := range b.groups {
		g.leftAfter = g.leftAfter[:0]
		left := make([]bool, g.n)
		for _, i := range g.leftBefore {
			left[i] = true
		}
		for i := range g.n {
			if !left[i] {
				g.leftAfter = append(g.leftAfter, i)
			}
		}
	}
}

// settled records the results of the outage reports in the batch. The caller holds sh.mu.
func (b *batch) settled(reply scripts.GCRAReply, err error) {
	for i := range b.adjust {
		a := &b.adjust[i]
		if err == nil {
			a.filled(float64(reply.Results()[i]) / 1e6)
		} else {
			a.filled(math.MaxFloat64) // what may have been given back isn't given back again
		}
		if a.out == nil {
			continue
		}
		var after scripts.GCRAState
		if err == nil {
			after = scripts.GCRAState{
				TAT: float64(reply.Now())/1e6 + reply.Ahead(a.key).Seconds(), Given: reply.Given(a.key),
			}
		}
		b.shard.recordReport(a.e, a.out, after)
	}
}

// wake wakes the callers, unless the batch was abandoned and they are awake.
func (b *batch) wake(before bool) {
	if b.done != nil && !before {
		close(b.done)
	}
}

// end records the result of the batch in the shard and in the node's circuit, and returns the next batch to send. The
// caller holds sh.mu and wakes the callers after releasing it.
func (b *batch) end(x exchange) (next *batch, change circuitChange) {
	sh := b.shard
	b.ended = true
	if x.sent {
		if !x.gaveUp {
			change = b.node.circuit.record(x.err)
		}
		if isTryAgain(x.err) && len(b.groups) > 1 {
			sh.singleKeyUntil = time.Now().Add(singleKeyFor)
		}
		if x.err == nil && len(sh.inOutage) > 0 {
			sh.reconcile(b.node)
		}
		if x.err == nil && len(sh.adjust) > 0 {
			sh.flushSoon(flushAfter)
		}
	}
	sh.previous = b.calls
	return sh.next(), change
}

// abandon ends the wait for a script call that exceeds Config.Timeout. A script that starts after the timeout does
// nothing. What one that started before grants is given back when its reply arrives.
func (b *batch) abandon() {
	sh := b.shard
	sh.mu.Lock()
	if b.ended {
		sh.mu.Unlock()
		return
	}
	b.err = fmt.Errorf("%w: no reply within %v", ErrUnavailable, sh.l.cfg.Timeout)
	next, change := b.end(exchange{sent: true, err: b.err})
	sh.mu.Unlock()
	if next != nil {
		sh.l.runners.start(next)
	}
	b.wake(false)
	sh.l.cfg.Hooks.circuitChanged(b.ctx, change, b.err)
}

// contextError returns the error of an ended context. It is both the context's error and the cause of its end.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
