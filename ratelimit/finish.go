package ratelimit

import (
	"fmt"
	"time"

	"github.com/penstock/penstock/scripts"
)

// finish hands out the answers. It returns what has gathered meanwhile and is to be sent; nil if there is nothing, and r
// is then kept.
func (b *batch) finish(r *runner, sent bool, reply scripts.GCRAReply, err error, from, to time.Time) *batch {
	ln := b.lane
	ln.mu.Lock()
	abandoned := b.ended
	var next *batch
	if !abandoned {
		b.err = err
		if sent && err == nil {
			b.answer(reply, from, to)
		}
		next = b.end(sent)
	}
	for _, e := range b.entries {
		e.uses--
	}
	for i := range b.adjust {
		b.adjust[i].e.loose--
		b.adjust[i].e.freed = to.Sub(ln.l.start)
	}
	switch {
	case err != nil && scripts.OutcomeOf(err) == scripts.NotRun:
		ln.putBack(b.adjust)
	case sent:
		b.settled(reply, err)
	}
	ln.mu.Unlock()
	if sent && err == nil {
		ln.l.presence.report(b.ctx, ln.l)
	}
	h := ln.l.cfg.Hooks.Batch
	if h == nil || !sent {
		if r != nil && next == nil {
			ln.l.runners.keep(r) // before the callers are woken, who may need it
		}
		b.wake(abandoned)
		return next
	}
	if next != nil {
		ln.l.runners.start(next) // the hook may take its time
	}
	b.wake(abandoned)
	h(BatchInfo{Calls: b.calls, Keys: len(b.entries), RoundTrip: to.Sub(from), Err: err})
	if r != nil {
		ln.l.runners.keep(r)
	}
	return nil
}

// settled ends the outages that Redis was told of. The caller holds ln.mu.
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
		b.lane.told(a.e, a.out, after)
	}
}

// wake lets the callers go on, unless it was done before.
func (b *batch) wake(before bool) {
	if b.done != nil && !before {
		close(b.done)
	}
}

// end settles how the batch has ended, lets the lane go on, and returns what it is to send next. The caller holds ln.mu,
// and wakes the callers when it doesn't any more.
func (b *batch) end(sent bool) *batch {
	ln := b.lane
	b.ended = true
	if sent {
		ln.circuit.note(b.err)
		if tryAgain(b.err) && len(b.groups) > 1 {
			ln.apart = time.Now().Add(apartFor)
		}
		if b.err == nil && len(ln.away) > 0 {
			ln.reconcile()
		}
		if b.err == nil && len(ln.adjust) > 0 {
			ln.flushSoon(flushAfter)
		}
	}
	ln.previous = b.calls
	return ln.next()
}

// abandon ends the waiting for a batch whose script call takes too long. Its outcome is unknown until the script's
// deadline, and then nothing.
func (b *batch) abandon() {
	ln := b.lane
	ln.mu.Lock()
	if b.ended {
		ln.mu.Unlock()
		return
	}
	b.err = fmt.Errorf("%w: no reply within %v", ErrUnavailable, ln.l.cfg.Timeout)
	next := b.end(true)
	ln.mu.Unlock()
	if next != nil {
		ln.l.runners.start(next)
	}
	b.wake(false)
}
