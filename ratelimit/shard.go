package ratelimit

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/penstock/penstock/scripts"
)

// shard is the way to one node of Redis, or to one hash tag where keys of one script must share it. Calls that come
// while a script call is under way gather in the open batch; the end of the call sends them.
type shard struct {
	l       *Limiter
	tag     string
	entries int // with l.mu held
	clock   scripts.Clock

	mu             sync.Mutex
	open           *batch   // takes further calls; nil: none
	full           []*batch // wait for their turn and take no further calls
	inFlight       int      // batches led
	previous       int      // calls of the batch that ended last
	adjust         []adjustment
	flushing       bool          // a timer will send adjust if no batch does
	flushEnd       time.Duration // until when, since the Limiter's start, if Redis is away
	circuit        circuit
	singleKeyUntil time.Time // until then, a batch has calls on the same keys only: these are moving to another node
	inOutage       []*entry  // used while Redis was away
}

// ticket is a call's place in a batch.
type ticket struct {
	g    *group
	i    int
	lead bool            // the caller must see to it that the batch is sent
	done <-chan struct{} // closed when the batch has ended; nil for a leader that sends it itself

	err error // why the call can't be put into a batch
}

// join puts a call into a batch. It returns false if an entry is dead: the caller then looks its keys up again. alone
// says that the caller, if it has to lead, sends the batch itself and so doesn't wait for it.
func (sh *shard) join(ctx context.Context, o op, items []item, until time.Duration, inline bool) (t ticket, ok bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := range items {
		if items[i].e.evicted {
			return t, false
		}
	}
	if t.err = sh.circuit.refuse(); t.err != nil {
		return t, true
	}
	t.g, t.lead = sh.group(ctx, o, items)
	t.i = t.g.enter(ctx, until)
	if !t.lead || !inline {
		t.done = t.g.batch.wait()
	}
	return t, true
}

// group returns the group that a call belongs to, and whether the call begins a batch that is to be sent at once.
func (sh *shard) group(ctx context.Context, o op, items []item) (g *group, lead bool) {
	if sh.l.cfg.DisableBatching {
		b := sh.newBatch(ctx)
		b.led = true
		sh.inFlight++
		return b.add(o, items), true
	}
	b := sh.open
	if b != nil {
		if g := items[0].e.last; g != nil && g.batch == b && b.room(0) && g.same(o, items) {
			return g, false
		}
		if !b.room(len(items)) {
			sh.close(b)
			b = nil
		}
	}
	if b == nil {
		b = sh.newBatch(ctx)
		sh.open = b
		if sh.inFlight == 0 {
			sh.inFlight++
			b.led, lead = true, true
		}
	}
	return b.add(o, items), lead
}

// close ends the gathering of the open batch, which is full, and sends it if that is possible.
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

// launch has a runner send the batch.
func (sh *shard) launch(b *batch) {
	sh.lead(b)
	sh.l.runners.start(b)
}

// lead notes that the batch is being sent.
func (sh *shard) lead(b *batch) {
	sh.inFlight++
	b.led = true
}

// next goes on after a batch that has ended: it returns one that has gathered meanwhile and is led now, for the caller
// to see to, and launches the rest. nil: there is none.
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

// gather lets goroutines that are ready to run join the batch before it goes: those that the end of the previous batch
// has woken. It doesn't wait: when nobody else comes, or after a few rounds, it is over. After a batch of one it does
// nothing, so that a lone caller loses no time.
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

// serverNow returns the earliest that Redis' time can be now, in seconds since 2017; 0 before the first reply.
func (sh *shard) serverNow() float64 {
	us, _ := sh.clock.Server(time.Now())
	return float64(us) / 1e6
}

// leave takes a call out whose context has ended, and reports whether it could: false if the batch has its answers.
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
