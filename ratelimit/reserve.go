package ratelimit

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Reservation is a booking on one or several limits, which are charged. It is safe for concurrent use.
type Reservation struct {
	l *Limiter
	t ticket

	mu    sync.Mutex
	ended bool // cancelled or settled
}

// Reserve books the earliest time at which all charges fit: all of them, or none. The caller waits for Delay before it
// acts, or cancels. The error is ErrNeverFits if a cost exceeds its burst. It is ErrDeadline or ErrMaxWait if the
// booking comes after the context's deadline or later than Config.MaxWait permits.
func (l *Limiter) Reserve(ctx context.Context, charges ...Charge) (*Reservation, error) {
	t, err := l.reserve(ctx, charges)
	if err != nil {
		return nil, err
	}
	return &Reservation{l: l, t: t}, nil
}

// reserve books the charges and returns the ticket of the booking.
func (l *Limiter) reserve(ctx context.Context, charges []Charge) (ticket, error) {
	for i := range charges {
		if c := &charges[i]; c.Cost > c.Limit.Burst && c.Limit.check(c.Cost) == nil {
			return ticket{}, failure(charges, i, ErrNeverFits)
		}
	}
	var buf [4]item
	items, err := l.items(buf[:0], charges)
	if err != nil {
		return ticket{}, err
	}
	cause, until := ErrMaxWait, never
	if l.cfg.MaxWait > 0 {
		until = time.Since(l.start) + l.cfg.MaxWait
	}
	if d, ok := ctx.Deadline(); ok && d.Sub(l.start) < until {
		cause, until = ErrDeadline, d.Sub(l.start)
	}
	t, err := l.submit(ctx, opReserve, items, until)
	if err != nil {
		return ticket{}, failure(charges, 0, err)
	}
	p := &t.g.bookings[t.g.rank(t.i)]
	if !p.booked {
		err := failure(charges, t.g.latest(p), cause)
		err.RetryAfter = seconds(p.slot)
		l.cfg.Hooks.refusedBooking(err)
		return ticket{}, err
	}
	if h := l.cfg.Hooks.Admitted; h != nil {
		for _, c := range charges {
			h(Decision{Key: c.Key, Limit: c.Limit, Cost: c.Cost})
		}
	}
	return t, nil
}

// latest returns the index of the limit that delays the booking most.
func (g *group) latest(p *booking) int {
	worst, at := 0, -1.0
	for i := range g.items {
		it := &g.items[i]
		if s := (p.units[i] + float64(it.cost-it.limit.Burst)) * it.interval; s > at {
			worst, at = i, s
		}
	}
	return worst
}

// Time returns the time of the booking by the local clock, rounded up.
func (r *Reservation) Time() time.Time {
	p := &r.t.g.bookings[r.t.g.rank(r.t.i)]
	return r.t.g.batch.local.Add(seconds(p.slot))
}

// Delay returns the time until the booking; 0 if it has passed.
func (r *Reservation) Delay() time.Duration {
	if r.t.g.bookings[r.t.g.rank(r.t.i)].slot == 0 {
		return 0
	}
	return max(time.Until(r.Time()), 0)
}

// Cancel gives the booking back, for a caller that won't use it. It returns as much of each charge as other bookings
// permit. If nothing was booked later, that is the whole charge. If other calls have booked future times since, or if the
// charge has refilled, it is less. Cancel returns at once: the refund goes to Redis with the next call, or after a few
// milliseconds. After a first Cancel or Settle it has no effect.
func (r *Reservation) Cancel() {
	if r.end() {
		r.l.giveBack(r.t.g.refund(r.t.i))
	}
}

// Settle replaces each charge by the actual cost, in the order of the charges. An excess is given back as by Cancel. A
// deficit is charged as a debt, which later calls wait for. Settle returns at once: the settlement goes to Redis with the
// next call, or after a few milliseconds. The error is ErrSettled after a first Cancel or Settle. It is ErrInvalid for the
// wrong number of costs, or a negative one.
func (r *Reservation) Settle(actual ...int) error {
	items := r.t.g.items
	if len(actual) != len(items) {
		return fmt.Errorf("%w: %d actual costs for %d limits", ErrInvalid, len(actual), len(items))
	}
	for _, n := range actual {
		if err := checkCost(n); err != nil {
			return err
		}
	}
	if !r.end() {
		return ErrSettled
	}
	var adjustments []adjustment
	for i, a := range r.t.g.refund(r.t.i) {
		switch n := int64(actual[i]); {
		case n > a.cost:
			a.kind, a.cost = adjustDebit, n-a.cost
		case n < a.cost:
			a.cost -= n
		default:
			continue
		}
		adjustments = append(adjustments, a)
	}
	r.l.giveBack(adjustments)
	return nil
}

// end reports whether this is the first Cancel or Settle.
func (r *Reservation) end() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := !r.ended
	r.ended = true
	return first
}
