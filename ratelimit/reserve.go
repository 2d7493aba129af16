package ratelimit

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Reservation is a booking on one or several limits, which are charged. It is safe for concurrent use.
type Reservation struct {
	l     *Limiter
	t     ticket    // without a group if no limit is in Redis
	index []int     // of each item's charge, if some limits aren't in Redis; nil: the same
	n     int       // number of charges
	made  time.Time // when Reserve returned

	mu    sync.Mutex
	ended bool // cancelled or settled
	read  bool // the caller knows the time of the booking
}

// Reserve books the earliest time at which all charges fit: all of them, or none. The caller waits for Delay before it
// acts, or cancels. The error is ErrNeverFits if a cost exceeds its burst. It is ErrDeadline or ErrMaxWait if the
// booking comes after the context's deadline or later than Config.MaxWait permits.
func (l *Limiter) Reserve(ctx context.Context, charges ...Charge) (*Reservation, error) {
	return l.ReserveWithin(ctx, l.longestWait(), charges...)
}

// ReserveWithin is Reserve with maxWait in place of Config.MaxWait. With 0, the booking is for now or refused.
func (l *Limiter) ReserveWithin(ctx context.Context, maxWait time.Duration, charges ...Charge) (*Reservation, error) {
	if !hasConstant(charges) {
		t, err := l.reserve(ctx, maxWait, charges)
		if err != nil {
			return nil, err
		}
		return &Reservation{l: l, t: t, n: len(charges)}, nil
	}
	rest, index, blocked, err := withoutConstant(charges)
	switch {
	case err != nil:
		return nil, err
	case blocked >= 0:
		return nil, failure(charges, blocked, ErrNeverFits)
	}
	r := &Reservation{l: l, index: index, n: len(charges), made: time.Now()}
	if len(rest) > 0 {
		if r.t, err = l.reserve(ctx, maxWait, rest); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// longestWait returns Config.MaxWait; never if it isn't set.
func (l *Limiter) longestWait() time.Duration {
	if l.cfg.MaxWait > 0 {
		return l.cfg.MaxWait
	}
	return never
}

// reserve books the charges and returns the ticket of the booking.
func (l *Limiter) reserve(ctx context.Context, maxWait time.Duration, charges []Charge) (ticket, error) {
	if maxWait < 0 {
		return ticket{}, &Error{Err: fmt.Errorf("%w: maximum wait is %v, must not be negative", ErrInvalid, maxWait)}
	}
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
	cause, latest := ErrMaxWait, bound{until: never, within: maxWait}
	if d, ok := ctx.Deadline(); ok {
		latest.until = d.Sub(l.start)
		if time.Until(d) < maxWait {
			cause = ErrDeadline
		}
	}
	t, err := l.submit(ctx, opReserve, items, latest)
	if err != nil {
		return ticket{}, failure(charges, 0, err)
	}
	p := &t.g.bookings[t.g.rank(t.i)]
	if !p.booked {
		err := failure(charges, t.g.latest(p), cause)
		err.RetryAfter = seconds(p.slot)
		l.cfg.Hooks.refusedBooking(ctx, err)
		return ticket{}, err
	}
	if h := l.cfg.Hooks.Admitted; h != nil {
		for _, c := range charges {
			h(ctx, Decision{Key: c.Key, Limit: c.Limit, Cost: c.Cost})
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
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read = true
	return r.time()
}

func (r *Reservation) time() time.Time {
	g := r.t.g
	if g == nil {
		return r.made
	}
	return g.batch.local.Add(seconds(g.bookings[g.rank(r.t.i)].slot))
}

// Delay returns the time until the booking; 0 if it has passed.
func (r *Reservation) Delay() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read = true
	return r.delay()
}

func (r *Reservation) delay() time.Duration {
	if g := r.t.g; g == nil || g.bookings[g.rank(r.t.i)].slot == 0 {
		return 0
	}
	return max(time.Until(r.time()), 0)
}

// Cancel gives the booking back, for a caller that won't use it. It returns as much of each charge as other bookings
// permit. If nothing was booked later, that is the whole charge. If other calls have booked future times since, or if the
// charge has refilled, it is less. Cancel returns at once: the refund goes to Redis with the next call, or after a few
// milliseconds.
//
// Cancel has no effect on a booking that was used: one whose time has passed and was read by Delay or Time. So a caller
// may defer Cancel. A caller that has read the time and didn't use the booking settles it with costs of 0 instead. After
// a first Cancel or Settle, Cancel has no effect either.
func (r *Reservation) Cancel() {
	r.mu.Lock()
	used := r.read && r.delay() == 0
	r.mu.Unlock()
	if !used && r.end() && r.t.g != nil {
		r.l.giveBack(r.t.g.refund(r.t.i))
	}
}

// Settle replaces each charge by the actual cost, in the order of the charges. An excess is given back as by Cancel. A
// deficit is charged as a debt, which later calls wait for. Settle returns at once: the settlement goes to Redis with the
// next call, or after a few milliseconds. The error is ErrSettled after a first Cancel or Settle. It is ErrInvalid for the
// wrong number of costs, or a negative one.
func (r *Reservation) Settle(actual ...int) error {
	if len(actual) != r.n {
		return fmt.Errorf("%w: %d actual costs for %d limits", ErrInvalid, len(actual), r.n)
	}
	for _, n := range actual {
		if err := checkCost(n); err != nil {
			return err
		}
	}
	if !r.end() {
		return ErrSettled
	}
	if r.t.g == nil {
		return nil
	}
	var adjustments []adjustment
	for i, a := range r.t.g.refund(r.t.i) {
		if r.index != nil {
			i = r.index[i]
		}
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
