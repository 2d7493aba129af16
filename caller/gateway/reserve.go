package gateway

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

const (
	// reserveCalls is the number of calls that a reserve is for.
	reserveCalls = 16
	// reservePart is the part of a cap that a reserve takes at most: 1/reservePart.
	reservePart = 64
	// reserveMargin is the time before its minute's end from which a reserve isn't used, because clocks drift.
	reserveMargin = 100 * time.Millisecond
)

// reserve is a part of a client's caps that Redis has charged and this process hasn't used. Its calls need no round trip.
// Redis grants one only while the caps are far: near them each call is charged by itself, so that none is refused for what
// other processes hold.
type reserve struct {
	asked  bool // a charge in the queue asks for one
	held   bool
	used   bool // since the last flush
	ticket ticket
	until  time.Time
}

// take takes units, or returns nil if the reserve hasn't enough.
func (r *reserve) take(now time.Time, units scripts.ClientUnits) *ticket {
	if !r.held || now.After(r.until) {
		return nil
	}
	for i, n := range units {
		if n > r.ticket.units[i] {
			return nil
		}
	}
	for i, n := range units {
		r.ticket.units[i] -= n
	}
	r.used = true
	return &ticket{minute: r.ticket.minute, day: r.ticket.day, units: units}
}

// add adds what Redis has granted. It reports false if the reserve is of another window.
func (r *reserve) add(t ticket, minuteEnd time.Time) bool {
	if r.held && (r.ticket.minute != t.minute || r.ticket.day != t.day) {
		return false
	}
	if !r.held {
		*r = reserve{asked: r.asked, held: true, ticket: ticket{minute: t.minute, day: t.day}, until: minuteEnd.Add(-reserveMargin)}
	}
	for i, n := range t.units {
		r.ticket.units[i] += n
	}
	r.used = true
	return true
}

// wanted returns the reserve to ask for with a call of these units; zero: none.
func (c *client) wanted(units scripts.ClientUnits) scripts.ClientUnits {
	calls := int64(reserveCalls)
	for i, most := range c.caps {
		if n := units[i%3]; most >= 0 && n > 0 {
			calls = min(calls, most/reservePart/n)
		}
	}
	for i := range units {
		units[i] *= calls
	}
	return units
}
