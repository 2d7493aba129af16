package ratelimit

import (
	"context"
	"slices"
	"time"

	"github.com/penstock/penstock/scripts"
)

// op is the operation that a call makes on its limits.
type op byte

const (
	opAllow   op = iota // all costs now, or nothing
	opAtMost            // as much of the cost as fits now
	opReserve           // all costs, at the earliest time that fits all limits
)

// item is one limit of a call.
type item struct {
	e     *entry
	limit Limit
	cost  int
	key   int // index among the batch's keys

	interval float64 // of the limit, in seconds; set when the item joins a group
	// The state before the group's first call, set by the reply:
	units float64 // how far the TAT is ahead of now, in units
	given int64   // total given back, as in scripts.GCRAState; never more than the exact total
}

// group is a run of equal calls in a batch: the same operation on the same limits at the same costs. Between two calls
// of a group no other call of the batch touches their limits, so each answer follows from the group's result.
//
// The shard's lock guards a group until its batch has ended. After that the group is immutable.
type group struct {
	batch *batch
	op    op
	items []item
	one   [1]item // backs items of a single limit
	n     int     // calls, including those in leftBefore

	leftBefore []int   // calls that left before the batch was sent
	leftAfter  []int   // calls that left later; their charges are given back
	bounds     []bound // of reservations
	short      bool    // a call of the group has a bound other than unbounded

	granted  int       // calls admitted, which are the first ones; for opAtMost, units taken
	bookings []booking // of reservations

	outage []outageCharge // of a call answered without Redis: its charge, per limit; zero with FailOpen
}

// booking is the result of a reservation.
type booking struct {
	booked bool
	slot   float64   // seconds after the batch's now; if not booked, when it would have been
	units  []float64 // per limit, how far the TAT is ahead after the booking, in units
	lost   []float64 // per limit, seconds of earlier charges that can't be given back any more
}

// rank returns the position of call i among the calls that were sent.
func (g *group) rank(i int) int {
	r := i
	for _, gone := range g.leftBefore {
		if gone < i {
			r--
		}
	}
	return r
}

// sent returns the number of calls of the group that were sent.
func (g *group) sent() int { return g.n - len(g.leftBefore) }

// same reports whether a call equals those of the group and no later group touches its limits.
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
	node    *node
	tag     string          // of all keys; empty if they need none in common
	whole   *batch          // that this one is a part of; nil: none
	ctx     context.Context // of the first call
	groups  []*group
	entries []*entry // one per key
	calls   int
	led     bool // a goroutine is responsible for sending it

	until   time.Time // latest deadline of its calls
	endless bool      // a call has no deadline

	adjust []adjustment // run before the calls

	frozen       bool
	ended        bool
	done         chan struct{} // closed when the batch has ended; nil while only its leader waits
	err          error
	at           int64     // Redis' time, in microseconds since 2017
	local        time.Time // latest local time that corresponds to at
	given        []int64   // per key, total given back before the calls
	clockSetBack bool      // Redis' clock was set back: refused and delayed calls try again
	deleted      []int     // keys that another client deleted, which counts as a Reset: the calls try again

	// Buffers for the usual small batch, which save allocations.
	oneGroup  group
	groupBuf  [1]*group
	entryBuf  [1]*entry
	givenBuf  [1]int64
	aheadBuf  [1]float64
	allowCall scripts.GCRAAllow
}

func (sh *shard) newBatch(ctx context.Context, e *entry, tag string) *batch {
	b := &batch{shard: sh, ctx: ctx, tag: tag, node: e.node()}
	b.groups, b.entries = b.groupBuf[:0], b.entryBuf[:0]
	return b
}

// wait returns the channel that closes when the batch has ended. The caller holds the shard's lock.
func (b *batch) wait() <-chan struct{} {
	if b.done == nil {
		b.done = make(chan struct{})
	}
	return b.done
}

// room reports whether another call fits. keys is the number of keys that the call may add.
func (b *batch) room(keys int) bool {
	cfg := &b.shard.l.cfg
	if keys > 0 && len(b.entries) > 0 && !b.shard.singleKeyUntil.IsZero() && time.Now().Before(b.shard.singleKeyUntil) {
		return false
	}
	return b.calls < cfg.MaxBatch && (len(b.entries) == 0 || len(b.entries)+keys <= cfg.MaxKeys)
}

// touch adds the entry to the keys of the open batch, and returns its index.
func (b *batch) touch(e *entry) int {
	if e.batch != b {
		e.batch, e.index, e.last = b, len(b.entries), nil
		e.uses++
		b.entries = append(b.entries, e)
	}
	return e.index
}

// index returns the index of the entry among the keys of the batch, which is about to be sent. It can't use e.index if
// the entry is also in the next batch. A script call must not contain a key twice.
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

// enter adds a call to the group and returns its index.
func (g *group) enter(ctx context.Context, latest bound) int {
	b := g.batch
	i := g.n
	g.n++
	b.calls++
	if g.op == opReserve {
		g.bounds = append(g.bounds, latest)
		g.short = g.short || latest != unbounded
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
