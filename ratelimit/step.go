package ratelimit

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

// A limit's state is a time by Redis' clock. When that is set back, or a failover brings another clock that is behind, all
// that was charged seems to lie further ahead by the step: nobody would be admitted for so long. From the state alone
// this can't be told from places that are booked far ahead. But a process that used the limit before the step knows how
// Redis' time was related to its own monotonic clock, and reports the step, and Redis moves the state back by it, once.

const (
	// minClockStep is the smallest step that is reported. Smaller ones hold calls up for no longer, and a server whose clock
	// stands still for a test isn't taken for one that was set back.
	minClockStep = time.Second
	// clockDrift is how fast two clocks may part, as a fraction, without one of them being set.
	clockDrift = 1e-3
)

// offset is what a process knows of the time of the Redis that holds a key, apart from all others.
type offset struct {
	least time.Duration // Redis' time minus the time since the Limiter's start was at least that
	at    time.Duration // when that was, since the Limiter's start
	known bool
}

// observe takes in that Redis' time was server, in microseconds since 2017, between from and to, since the Limiter's
// start. It returns by how much its clock was certainly set back since the last time, 0 if not by minClockStep.
func (o *offset) observe(server int64, from, to time.Duration) time.Duration {
	s := time.Duration(server) * time.Microsecond
	least, most := s-to, s-from+time.Microsecond // TIME cuts to microseconds
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

// setBack looks whether Redis' clock was set back since the batch's keys were used last, and has Redis told. The caller
// holds the shard's lock.
func (b *batch) setBack(reply scripts.GCRAReply, from, to time.Duration) {
	for i, e := range b.entries {
		back := e.offset.observe(reply.Now(), from, to)
		if back > 0 && reply.Ahead(i) > 0 {
			b.shard.put(adjustment{kind: adjustSetBack, e: e, step: back, after: e.state})
			b.clockSetBack = true
		}
	}
}

// held reports whether call i of the group was refused, or has to wait.
func (g *group) delayed(i int) bool {
	switch rank := g.rank(i); g.op {
	case opReserve:
		p := &g.bookings[rank]
		return !p.booked || p.slot > 0
	case opAtMost:
		return g.granted <= rank*g.items[0].cost && g.items[0].cost > 0
	default:
		return rank >= g.granted
	}
}
