package ratelimit

import (
	"context"
	"slices"
	"time"

	"github.com/penstock/penstock/scripts"
)

// op is what a call wants of its limits.
type op byte

const (
	opAllow   op = iota // all costs now, or nothing
	opAtMost            // as much of the cost as fits now
	opReserve           // all costs at the earliest time for all
)

// item is one limit of a call.
type item struct {
	e     *entry
	limit Limit
	cost  int
	key   int // index among the batch's keys

	interval float64 // the limit's, in seconds; set when the item is put into a group
	// Once the batch is done, as it was before the group's first call:
	units float64 // how far the TAT was ahead, in units
	given int64   // what had been given back, as in scripts.GCRAState; a little less rather than more
}

// group is a run of equal calls in a batch: the same operation on the same limits at the same costs. Between two calls
// of a group nothing else touches their limits, so their answers follow from the group's.
//
// The shard's lock guards a group until its batch is done; then it doesn't change any more.
type group struct {
	batch *batch
	op    op
	items []item
	one   [1]item // backs items of a single limit
	n     int     // calls, those in gone included

	leftBefore []int           // calls that left before the batch was sent
	leftAfter  []int           // calls that left after that; what they were granted goes back
	until      []time.Duration // of reservations: the latest place, as time since the Limiter's start
	short      bool            // some of them isn't never

	granted  int       // calls admitted, the first ones; for opAtMost, units taken
	bookings []booking // of reservations

	outage []outageCharge // of a call that was answered without Redis: per limit, where it stood; zero with FailOpen
}

// place is what a reservation got.
type booking struct {
	booked bool
	slot   float64   // seconds from the batch's now; if it wasn't booked, where it would have been
	units  []float64 // per limit, how far the TAT is ahead after it, in units
	lost   []float64 // per limit, seconds of what was charged before that can't be given back any more
}

// rank returns the position of call i among those that were sent.
func (g *group) rank(i int) int {
	r := i
	for _, gone := range g.leftBefore {
		if gone < i {
			r--
		}
	}
	return r
}

// sent returns how many calls of the group were sent.
func (g *group) sent() int { return g.n - len(g.leftBefore) }

// same reports whether a call is equal to those of the group. What it touches was last touched by the group.
func (g *group) same(o op, items []item) bool {
	if g.op != o || len(g.items) != len(items) {
		return false
	}
	for i := range items {
		a, b := &g.items[i], &items[i]
		if a.e != b.e || a.cost != b.cost || a.limit != b.limit || b.e.last != g {
			return false
		}
	}
	return true
}

// batch is the calls that one script call serves.
type batch struct {
	shard   *shard
	ctx     context.Context // of the first call
	groups  []*group
	entries []*entry // the keys, each once
	calls   int
	led     bool // somebody is to send it

	until   time.Time // the latest deadline of its calls
	endless bool      // a call has no deadline

	adjust []adjustment // go first

	frozen       bool
	ended        bool
	done         chan struct{} // closed when the batch has ended; nil while only its leader waits for it
	err          error
	at           int64     // Redis' time in microseconds since 2017
	local        time.Time // by when that time was over here
	given        []int64   // per key
	clockSetBack bool      // Redis' clock was set back, and calls that were refused or have to wait should try again

	// What most batches need, so that it isn't allocated by itself.
	oneGroup  group
	groupBuf  [1]*group
	entryBuf  [1]*entry
	givenBuf  [1]int64
	aheadBuf  [1]float64
	allowCall scripts.GCRAAllow
}

func (sh *shard) newBatch(ctx context.Context) *batch {
	b := &batch{shard: sh, ctx: ctx}
	b.groups, b.entries = b.groupBuf[:0], b.entryBuf[:0]
	return b
}

// wait returns what is closed when the batch has ended. The caller holds the shard's lock.
func (b *batch) wait() <-chan struct{} {
	if b.done == nil {
		b.done = make(chan struct{})
	}
	return b.done
}

// room reports whether another call fits, which needs the given number of keys if it is in no group yet.
func (b *batch) room(keys int) bool {
	cfg := &b.shard.l.cfg
	if keys > 0 && len(b.entries) > 0 && !b.shard.singleKeyUntil.IsZero() && time.Now().Before(b.shard.singleKeyUntil) {
		return false
	}
	return b.calls < cfg.MaxBatch && (len(b.entries) == 0 || len(b.entries)+keys <= cfg.MaxKeys)
}

// touch puts the entry among the keys of the batch, which is the one that gathers.
func (b *batch) touch(e *entry) int {
	if e.batch != b {
		e.batch, e.index, e.last = b, len(b.entries), nil
		e.uses++
		b.entries = append(b.entries, e)
	}
	return e.index
}

// index returns where the entry is among the keys of the batch, which is about to be sent. Another one may be gathering
// meanwhile, and the entry's index may be that in the other one: each key must be in a script call only once.
func (b *batch) index(e *entry) int {
	if e.batch == b {
		return e.index
	}
	if i := slices.Index(b.entries, e); i >= 0 {
		return i
	}
	e.uses++
	b.entries = append(b.entries, e)
	return len(b.entries) - 1
}

// add makes a group of the call.
func (b *batch) add(o op, items []item) *group {
	g := &b.oneGroup
	if len(b.groups) > 0 {
		g = new(group)
	}
	g.batch, g.op = b, o
	if len(items) == 1 {
		g.one[0] = items[0]
		g.items = g.one[:]
	} else {
		g.items = append([]item(nil), items...)
	}
	for i := range g.items {
		it := &g.items[i]
		it.key, it.interval = b.touch(it.e), it.limit.seconds()
		it.e.last = g
	}
	b.groups = append(b.groups, g)
	return g
}

// enter puts one more call into the group and returns its index.
func (g *group) enter(ctx context.Context, until time.Duration) int {
	b := g.batch
	i := g.n
	g.n++
	b.calls++
	if g.op == opReserve {
		g.until = append(g.until, until)
		g.short = g.short || until != never
	}
	if ctx.Done() == nil {
		b.endless = true
	} else if d, ok := ctx.Deadline(); !ok {
		b.endless = true
	} else if d.After(b.until) {
		b.until = d
	}
	return i
}
