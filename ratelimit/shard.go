package ratelimit

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// shard is the queue for one Redis node. If the keys of a script call need a common hash tag, it is the queue for the
// tags of one hash value, which rarely are more than one. Calls that arrive while a script call is in flight join the
// open batch. The end of the script call sends that batch.
type shard struct {
	l *Limiter

	mu             sync.Mutex
	open           *batch   // accepts further calls; nil: none
	full           []*batch // ready to send, no further calls
	inFlight       int      // batches that are being sent
	previous       int      // number of calls in the batch that ended last
	adjust         []adjustment
	flushing       bool                 // a timer will send adjust if no batch does
	flushEnd       time.Duration        // since the Limiter's start: the end of the tries for the sake of adjust alone
	faulty         map[*entry]time.Time // keys that Redis refused, to the time until which they are sent apart
	singleKeyUntil time.Time            // until then batches contain a single key, because a slot migrates
	inOutage       []*entry             // used since Redis became unavailable
}

// ticket is a call's position in a batch.
type ticket struct {
	b    *batch // that the call joined; a refused batch moves its groups to parts
	g    *group
	i    int
	lead bool            // the caller must start the batch
	done <-chan struct{} // closed when the batch has ended; nil for a leader that sends the batch itself

	err error // why the call can't join a batch
}

// join puts a call into a batch. It returns false if an entry is evicted: the caller then looks its keys up again.
// inline means that the caller sends the batch itself if it leads.
func (sh *shard) join(ctx context.Context, o op, items []item, latest bound, inline bool) (t ticket, ok bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := range items {
		if items[i].e.evicted {
			return t, false
		}
	}
	if t.err = items[0].e.node().circuit.refuse(); t.err != nil {
		return t, true
	}
	t.g, t.lead = sh.group(ctx, o, items)
	t.i, t.b = t.g.enter(ctx, latest), t.g.batch
	if !t.lead || !inline {
		t.done = t.g.batch.wait()
	}
	return t, true
}

// group returns the group for a call, and whether the call opens a batch that is to be sent at once.
func (sh *shard) group(ctx context.Context, o op, items []item) (g *group, lead bool) {
	tag := items[0].e.tag()
	if sh.l.cfg.DisableBatching || len(sh.faulty) > 0 && sh.isFaulty(items) {
		b := sh.newBatch(ctx, items[0].e, tag)
		b.led = true
		sh.inFlight++
		return b.add(o, items), true
	}
	b := sh.open
	if b != nil {
		if g := items[0].e.last; g != nil && g.batch == b && b.room(0) && g.same(o, items) {
			return g, false
		}
		if b.tag != tag || !b.room(len(items)) {
			sh.close(b)
			b = nil
		}
	}
	if b == nil {
		b = sh.newBatch(ctx, items[0].e, tag)
		sh.open = b
		if sh.inFlight == 0 {
			sh.inFlight++
			b.led, lead = true, true
		}
	}
	return b.add(o, items), lead
}

// close closes the open batch, which is full, and sends it if another script call may be in flight.
func (sh *shard) close(b *batch) {
	sh.open = nil
	if b.led {
		return
	}
	if sh.inFlight < sh.l.cfg.MaxInFlight {
		sh.launch(b)
		return
	}
	sh.full = append(sh.full, b)
}

// launch makes a runner send the batch.
func (sh *shard) launch(b *batch) {
	sh.lead(b)
	sh.l.runners.start(b)
}

// lead marks the batch as being sent.
func (sh *shard) lead(b *batch) {
	sh.inFlight++
	b.led = true
}

// next updates the shard after the end of a batch. It returns one batch that is ready, for the caller to send, and
// launches the others. nil: none is ready.
func (sh *shard) next() *batch {
	sh.inFlight--
	var first *batch
	for len(sh.full) > 0 && sh.inFlight < sh.l.cfg.MaxInFlight {
		b := sh.full[0]
		sh.full[0] = nil
		sh.full = sh.full[1:]
		if first != nil {
			sh.launch(b)
			continue
		}
		sh.lead(b)
		first = b
	}
	if b := sh.open; b != nil && !b.led && sh.inFlight == 0 {
		sh.lead(b)
		first = b
	}
	return first
}

// linger yields so that goroutines woken by the last reply can join the batch before it is sent. It returns when the
// batch is as large as the last one, when a yield adds no call, or after 16 yields. After a batch of one call it
// returns at once, so a lone caller loses no time.
func (b *batch) linger() {
	sh := b.shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for range 16 {
		n := b.calls
		if n >= sh.previous || sh.open != b {
			return
		}
		sh.mu.Unlock()
		runtime.Gosched()
		sh.mu.Lock()
		if b.calls == n {
			return
		}
	}
}

// leave removes a call whose context has ended from its batch. It returns false if the batch has ended.
func (sh *shard) leave(t ticket) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	b := t.g.batch
	switch {
	case b.ended:
		return false
	case b.frozen:
		t.g.leftAfter = append(t.g.leftAfter, t.i)
	default:
		t.g.leftBefore = append(t.g.leftBefore, t.i)
		b.calls--
	}
	return true
}
