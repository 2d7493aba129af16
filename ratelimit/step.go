package ratelimit

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

// A limit's state is a time by Redis' clock. If that clock is set back, or a failover brings a server whose clock is
// behind, every state seems to lie further ahead by the step, and calls are refused for that long. The state alone does
// not show the difference from bookings in the future. A process that used the limit before the step knows how Redis'
// clock compares to its own monotonic clock. It reports the step, and the script moves the state back by it, once.

const (
	// minClockStep is the smallest step that is reported. A smaller one delays calls by no more than itself, and a test
	// server with a frozen clock isn't taken for one that was set back.
	minClockStep = time.Second
	// clockDrift is the largest rate at which two clocks diverge, as a fraction, unless one of them is set.
	clockDrift = 1e-3
)

// offset is the difference between Redis' clock and the local one, for the server that holds one key.
type offset struct {
	least time.Duration // lower bound of Redis' time minus the time since the Limiter's start
	at    time.Duration // of the bound, since the Limiter's start
	known bool
}

// observe updates the offset: Redis' time was server, in microseconds since 2017, between from and to, which count from
// the Limiter's start. The result is the smallest step back that explains the reading; 0 if it is below minClockStep.
func (o *offset) observe(server int64, from, to time.Duration) time.Duration {
	s := time.Duration(server) * time.Microsecond
	least, most := s-to, s-from+time.Microsecond // TIME truncates to microseconds
	var back time.Duration
	if o.known {
		last := o.least - time.Duration(float64(to-o.at)*clockDrift)
		if back = last - most; back < minClockStep {
			least, back = max(least, last), 0
		}
	}
	o.least, o.at, o.known = least, to, true
	return back
}

// setBack queues a report for each key that was deleted, or whose clock was set back since its last use. The caller holds the shard's lock.
func (b *batch) setBack(reply scripts.GCRAReply, from, to time.Duration) {
	for _, i := range b.deleted {
		e := b.entries[i]
		step := time.Duration((e.state.TAT - float64(reply.Now())/1e6) * 1e9)
		b.shard.put(adjustment{kind: adjustSetBack, e: e, step: step, after: e.state})
	}
	for i, e := range b.entries {
		back := e.offset.observe(reply.Now(), from, to)
		if back > 0 && reply.Ahead(i) > 0 {
			b.shard.put(adjustment{kind: adjustSetBack, e: e, step: back, after: e.state})
			b.clockSetBack = true
		}
	}
}

// delayed reports whether call i of the group was refused or has to wait.
func (g *group) delayed(i int) bool {
	switch rank := g.rank(i); g.op {
	case opReserve:
		p := &g.bookings[rank]
		return !p.booked || p.slot > 0
	case opAtMost:
		return g.granted <= times(rank, g.items[0].cost) && g.items[0].cost > 0
	default:
		return rank >= g.granted
	}
}
