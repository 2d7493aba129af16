package ratelimit

import (
	"fmt"
	"time"

	"github.com/penstock/penstock/scripts"
)

// finish distributes the answers of the batch. It returns the next batch for the caller to send. If there is none, it
// returns nil and keeps r for later.
func (b *batch) finish(r *runner, sent bool, reply scripts.GCRAReply, err error, from, to time.Time) *batch {
	sh := b.shard
	sh.mu.Lock()
	abandoned := b.ended
	var next *batch
	if !abandoned {
		b.err = err
		if sent && err == nil {
			b.applyReply(reply, from, to)
		}
		next = b.end(sent)
	}
	for _, e := range b.entries {
		e.uses--
	}
	for i := range b.adjust {
		b.adjust[i].e.pendingAdjustments--
		b.adjust[i].e.lastLoweredAt = to.Sub(sh.l.start)
	}
	switch {
	case err != nil && scripts.OutcomeOf(err) == scripts.NotRun:
		sh.putBack(b.adjust)
	case sent:
		b.settled(reply, err)
	}
	sh.mu.Unlock()
	if sent && err == nil {
		sh.l.presence.report(b.ctx, sh.l)
	}
	h := sh.l.cfg.Hooks.ScriptCalled
	if h == nil || !sent {
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
	h(ScriptCall{Calls: b.calls, Keys: len(b.entries), RoundTrip: to.Sub(from), Err: err})
	if r != nil {
		sh.l.runners.keep(r)
	}
	return nil
}

// settled records the results of the outage reports in the batch. The caller holds sh.mu.
func (b *batch) settled(reply scripts.GCRAReply, err error) {
	for i := range b.adjust {
		a := &b.adjust[i]
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

// end records the result of the batch in the shard, and returns the next batch to send. The caller holds sh.mu and
// wakes the callers after releasing it.
func (b *batch) end(sent bool) *batch {
	sh := b.shard
	b.ended = true
	if sent {
		sh.circuit.record(b.err)
		if isTryAgain(b.err) && len(b.groups) > 1 {
			sh.singleKeyUntil = time.Now().Add(singleKeyFor)
		}
		if b.err == nil && len(sh.inOutage) > 0 {
			sh.reconcile()
		}
		if b.err == nil && len(sh.adjust) > 0 {
			sh.flushSoon(flushAfter)
		}
	}
	sh.previous = b.calls
	return sh.next()
}

// abandon ends the wait for a script call that exceeds Config.Timeout. A script that starts after the timeout does
// nothing.
func (b *batch) abandon() {
	sh := b.shard
	sh.mu.Lock()
	if b.ended {
		sh.mu.Unlock()
		return
	}
	b.err = fmt.Errorf("%w: no reply within %v", ErrUnavailable, sh.l.cfg.Timeout)
	next := b.end(true)
	sh.mu.Unlock()
	if next != nil {
		sh.l.runners.start(next)
	}
	b.wake(false)
}
