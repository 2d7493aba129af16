package ratelimit

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/penstock/penstock/scripts"
)

// lane is the way to one node of Redis, or to one hash tag where keys of one script must share it. Calls that come
// while a script call is under way gather in the open batch; the end of the call sends them.
type lane struct {
	l       *Limiter
	tag     string
	entries int // with l.mu held
	clock   scripts.Clock

	mu       sync.Mutex
	open     *batch   // takes further calls; nil: none
	full     []*batch // wait for their turn and take no further calls
	inFlight int      // batches led
	previous int      // calls of the batch that ended last
	adjust   []adjustment
	flushing bool          // a timer will send adjust if no batch does
	flushEnd time.Duration // until when, since the Limiter's start, if Redis is away
	circuit  circuit
	apart    time.Time // until then, a batch has calls on the same keys only: these are moving to another node
	away     []*entry  // used while Redis was away
}

// ticket is a call's place in a batch.
type ticket struct {
	g    *group
	i    int
	lead bool            // the caller must see to it that the batch is sent
	done <-chan struct{} // closed when the batch has ended; nil for a leader that sends it itself

	broken error // why the call can't be put into a batch
}

// join puts a call into a batch. It returns false if an entry is dead: the caller then looks its keys up again. alone
// says that the caller, if it has to lead, sends the batch itself and so doesn't wait for it.
func (ln *lane) join(ctx context.Context, o op, items []item, until time.Duration, alone bool) (t ticket, ok bool) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for i := range items {
		if items[i].e.dead {
			return t, false
		}
	}
	if t.broken = ln.circuit.refuse(); t.broken != nil {
		return t, true
	}
	t.g, t.lead = ln.group(ctx, o, items)
	t.i = t.g.enter(ctx, until)
	if !t.lead || !alone {
		t.done = t.g.batch.wait()
	}
	return t, true
}

// group returns the group that a call belongs to, and whether the call begins a batch that is to be sent at once.
func (ln *lane) group(ctx context.Context, o op, items []item) (g *group, lead bool) {
	if ln.l.cfg.Solo {
		b := ln.newBatch(ctx)
		b.led = true
		ln.inFlight++
		return b.add(o, items), true
	}
	b := ln.open
	if b != nil {
		if g := items[0].e.last; g != nil && g.batch == b && b.room(0) && g.same(o, items) {
			return g, false
		}
		if !b.room(len(items)) {
			ln.close(b)
			b = nil
		}
	}
	if b == nil {
		b = ln.newBatch(ctx)
		ln.open = b
		if ln.inFlight == 0 {
			ln.inFlight++
			b.led, lead = true, true
		}
	}
	return b.add(o, items), lead
}

// close ends the gathering of the open batch, which is full, and sends it if that is possible.
func (ln *lane) close(b *batch) {
	ln.open = nil
	if b.led {
		return
	}
	if ln.inFlight < ln.l.cfg.MaxInFlight {
		ln.launch(b)
		return
	}
	ln.full = append(ln.full, b)
}

// launch has a runner send the batch.
func (ln *lane) launch(b *batch) {
	ln.lead(b)
	ln.l.runners.start(b)
}

// lead notes that the batch is being sent.
func (ln *lane) lead(b *batch) {
	ln.inFlight++
	b.led = true
}

// next goes on after a batch that has ended: it returns one that has gathered meanwhile and is led now, for the caller
// to see to, and launches the rest. nil: there is none.
func (ln *lane) next() *batch {
	ln.inFlight--
	var first *batch
	for len(ln.full) > 0 && ln.inFlight < ln.l.cfg.MaxInFlight {
		b := ln.full[0]
		ln.full[0] = nil
		ln.full = ln.full[1:]
		if first != nil {
			ln.launch(b)
			continue
		}
		ln.lead(b)
		first = b
	}
	if b := ln.open; b != nil && !b.led && ln.inFlight == 0 {
		ln.lead(b)
		first = b
	}
	return first
}

// gather lets goroutines that are ready to run join the batch before it goes: those that the end of the previous batch
// has woken. It doesn't wait: when nobody else comes, or after a few rounds, it is over. After a batch of one it does
// nothing, so that a lone caller loses no time.
func (b *batch) gather() {
	ln := b.lane
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for range 16 {
		n := b.calls
		if n >= ln.previous || ln.open != b {
			return
		}
		ln.mu.Unlock()
		runtime.Gosched()
		ln.mu.Lock()
		if b.calls == n {
			return
		}
	}
}

// serverNow returns the earliest that Redis' time can be now, in seconds since 2017; 0 before the first reply.
func (ln *lane) serverNow() float64 {
	us, _ := ln.clock.Server(time.Now())
	return float64(us) / 1e6
}

// leave takes a call out whose context has ended, and reports whether it could: false if the batch has its answers.
func (ln *lane) leave(t ticket) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	b := t.g.batch
	switch {
	case b.ended:
		return false
	case b.frozen:
		t.g.left = append(t.g.left, t.i)
	default:
		t.g.gone = append(t.g.gone, t.i)
		b.calls--
	}
	return true
}
