package admission

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock/penstock/scripts"
)

// timerDelay is how late a timer may be on a machine that isn't busy.
const timerDelay = 5 * time.Millisecond

// acquire waits for admission and for the send time. A call that is too late for it asks once more.
func (c *Controller) acquire(ctx context.Context, r *Request, g *Grant) error {
	begun := time.Now()
	waits := Waits{Limit: NoLimit}
	defer func() { g.waited, g.waits = time.Since(begun), waits }()
	for attempt := 0; ; attempt++ {
		err := c.admit(ctx, r, g)
		waits.add(g.waits)
		if err != nil {
			return err
		}
		late := time.Since(g.sendAt)
		if late < 0 {
			waits.Rate -= late
			if err := sleep(ctx, -late); err != nil {
				g.Decline()
				return err
			}
			late = time.Since(g.sendAt)
		}
		if attempt == 1 || !c.tooLate(g, late) {
			return nil
		}
		g.Release()
		c.slotsMissed.Add(1)
		r.Retry = true
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// tooLate reports whether a call that is late for its send time takes a new one. A process that is late for longer than
// the arrival jitter, of which a quarter is the network's, would send its calls in a burst, so a late call takes a new
// send time. Exceptions: a call that uses a large part of a limit, and a call that was late once already. Where every
// timer is late, nothing of the quota would be left.
func (c *Controller) tooLate(g *Grant, late time.Duration) bool {
	if late < max(c.cfg.ArrivalJitter*3/4, timerDelay) {
		return false
	}
	for _, i := range g.target.limits {
		l := &(*c.limits.Load())[i]
		if l.Interval*float64(g.units[l.Metric]) > 10*c.cfg.ArrivalJitter.Seconds() {
			return false
		}
	}
	return len(g.target.limits) > 0
}

// admit waits until Redis admits the call, and fills g.
func (c *Controller) admit(ctx context.Context, r *Request, g *Grant) error {
	if ctx.Err() != nil {
		g.waits = Waits{Limit: NoLimit}
		return context.Cause(ctx)
	}
	w := c.newWaiter(r, g)
	w.deadline = lastUse(ctx, r.Needs)
	if err := c.join(w); err != nil {
		g.waits = Waits{Limit: NoLimit}
		return err
	}
	select {
	case <-w.ready:
		if w.err != nil {
			g.waits = c.waitsOf(w)
		}
		return c.result(w)
	case <-ctx.Done():
	}
	left, failure := c.leave(w)
	g.waits = c.waitsOf(w)
	if !left { // the answer came first
		<-w.ready
		if c.result(w) == nil {
			g.Decline()
		}
	}
	err := context.Cause(ctx)
	if failure != nil {
		err = &Refusal{Err: fmt.Errorf("%w while Redis didn't answer: %w", err, failure), Limit: NoLimit}
	}
	return err
}

// lastUse returns the time from which on a call isn't worth sending: its deadline, less the time that it needs, or less
// half of the time that it has if that is shorter. Zero: it has no deadline.
func lastUse(ctx context.Context, needs time.Duration) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok || needs <= 0 {
		return deadline
	}
	return deadline.Add(-min(needs, time.Until(deadline)/2))
}

// newWaiter returns a waiter for a request that comes now.
func (c *Controller) newWaiter(r *Request, g *Grant) *waiter {
	w, ok := c.waiterPool.Get().(*waiter)
	if !ok {
		w = &waiter{ready: make(chan struct{}, 1)}
	}
	w.Request, w.since, w.grant, w.tenant = *r, time.Now(), g, c.queue.tenants[r.Tenant]
	return w
}

// result returns the result of a waiter that has been woken, and puts the waiter into the pool.
func (c *Controller) result(w *waiter) error {
	err := w.err
	if w.reusable {
		*w = waiter{ready: w.ready}
		c.waiterPool.Put(w)
	}
	return err
}

// enqueue puts w into the queue, and reports whether Redis is to be asked at once.
func (c *Controller) enqueue(w *waiter) (ask bool, err error) {
	switch {
	case c.draining:
		return false, &Refusal{Err: ErrClosed, Limit: NoLimit}
	case c.queue.len() >= c.cfg.MaxWaiting:
		return false, &Refusal{Err: ErrQueueFull, Limit: NoLimit}
	}
	var added bool
	w.group, added = c.groups.of(c.cfg.Limits, w.Model)
	if !c.groups.list[w.group].hadBy(c.cfg.Accounts) {
		return false, &Refusal{Err: ErrNoModel, Limit: NoLimit}
	}
	if added {
		c.setTopology(newTopology(&c.cfg, c.topology.accounts, c.groups.list, w.since))
	}
	first := c.queue.servedFirst(w)
	if first {
		c.waitTotals.by(w.group, scripts.ConstraintNone, w.since)
	}
	w.before = c.waitTotals.of(w.group, w.since)
	// nextAsk is a time for the calls that came before. A call that is served before those of its model group may fit
	// earlier, and one whose deadline is earlier is to be refused at once. Where the others wait for long, as for the next
	// day, a smaller call may fit at once.
	cannotWait := c.waitFor == forTime && (w.expiresBy(c.nextAsk) || c.nextAsk.Sub(w.since) > longWait)
	if first || cannotWait {
		c.waitFor, c.askAgain, ask = forCall, true, true
	}
	c.queue.add(w)
	c.arrivedMeanwhile = true
	return ask, nil
}
