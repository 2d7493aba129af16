package admission

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/penstock/penstock/scripts"
)

// applyReply does what a reply asks for, and returns the waiters to wake: facts are confirmed, grants are dispatched, and
// the next ask is planned.
func (c *Controller) applyReply(now time.Time, x *exchange, reply *scripts.PoolReply) []*waiter {
	waiting := len(x.batch.waiters) - len(reply.Grants)
	c.failures, c.failure, c.retryAt = 0, nil, time.Time{}
	c.permits.reported(x.sent, x.held, len(reply.Grants), waiting, reply.Waiting > 0)
	if c.lease != nil {
		c.lease.renew(x.sent, c.permits.reportedHeld > 0)
	}
	c.limitsConfirmed(now, &x.delivery)
	x.delivery.confirm()
	c.recovery.version = reply.Version
	c.ramp.replyReceived(now, reply.Version.Origin, c.clock.Local)
	c.recovery.recordReports(x.delivery.reports)
	// Asking for many more calls than are admitted costs Redis time for nothing.
	c.lastBatchSize = len(reply.Grants)
	c.batchLimit = min(maxBatch, max(minBatch, 2*len(reply.Grants)))
	if waiting == 0 {
		c.batchLimit = maxBatch
	}
	woken := c.dispatchGrants(now, x, reply)
	c.plan(now, x, reply)
	x.batch.callEnded()
	for _, w := range woken {
		w.reusable = true
	}
	return woken
}

// dispatchGrants gives the grants to the first waiters of each demand, and returns the waiters to wake. The grant of a
// waiter that has left goes to another one.
func (c *Controller) dispatchGrants(now time.Time, x *exchange, reply *scripts.PoolReply) []*waiter {
	woken := make([]*waiter, 0, len(reply.Grants))
	waiters, grants := x.batch.waiters, reply.Grants
	lease := c.currentLease()
	var at int64
	var sendAt time.Time
	for i, d := range x.batch.demands {
		c.recordGrants(now, grants[:reply.Admitted[i]], d.Cost, x.topology)
		for n, w := range waiters[:reply.Admitted[i]] {
			if grants[n].SendAt != at {
				at = grants[n].SendAt
				sendAt, _ = c.clock.Local(at)
			}
			t := &x.topology.targets[grants[n].Target]
			b := booking{
				target: t, key: t.keys[grants[n].Key].ID, sendAt: sendAt, trial: grants[n].Trial, units: d.Cost, lease: lease, tenant: d.Tenant,
			}
			if w.fifo != nil && w.expiresBy(sendAt) {
				c.refuse(w, sendAt.Sub(now), reply.Constraint)
			}
			if w.fifo == nil {
				w = c.queue.nextEligible(&b, c.groups.list)
			}
			if w == nil {
				c.permits.unused(now)
				c.refundDailyCounts(&b)
				continue
			}
			c.permits.take(t.account.tally)
			c.grant(w, &b, now)
			woken = append(woken, w)
		}
		waiters, grants = waiters[d.Count:], grants[reply.Admitted[i]:]
	}
	return woken
}

// recordGrants records what equal calls were admitted. Redis has charged it, whatever becomes of the calls.
func (c *Controller) recordGrants(now time.Time, grants []scripts.PoolGrant, units []int64, t *topology) {
	for len(grants) > 0 {
		n := 1
		for n < len(grants) && grants[n].Target == grants[0].Target && grants[n].SendAt == grants[0].SendAt {
			n++
		}
		sendAt, _ := c.clock.Local(grants[0].SendAt)
		its := &t.targets[grants[0].Target]
		c.recovery.recordGrants(c.cfg.Limits, its, sendAt, int64(n), units)
		t.use(its, c.cfg.Limits, units, int64(n), now)
		grants = grants[n:]
	}
}

// plan refuses the waiters that can't be admitted, and plans the next ask for the others.
func (c *Controller) plan(now time.Time, x *exchange, reply *scripts.PoolReply) {
	waiting := c.permits.reportedWaiting
	r := replied{
		waiting: waiting, onlyUnservable: c.refuseUnservable(reply, x), askAgain: c.askAgain, arrivedMeanwhile: c.arrivedMeanwhile,
		releasedMeanwhile: !c.permits.unreportedSince.IsZero(), permitHelps: reply.Poll, untimed: reply.Wake == scripts.PoolPoll,
		wake: reply.Wake, poll: pollInterval/2 + rand.N(pollInterval), least: c.cfg.Horizon / 16,
	}
	if waiting > 0 && reply.Poll {
		c.startListener()
	}
	c.blocked.by(reply.Constraint, now, c.lastSendTime(reply))
	c.waitTotals.replied(x.batch.demands, reply, now)
	c.waitsFor = blockedOf(x, reply)
	c.waitFor, c.nextAsk = planNextAsk(now, &r)
	if c.waitFor == forTime && !r.untimed {
		c.refuseExpired(now.Add(reply.Wake), reply, x)
	}
}

// lastSendTime returns the last send time of the calls admitted; zero where others were not admitted.
func (c *Controller) lastSendTime(reply *scripts.PoolReply) time.Time {
	if c.permits.reportedWaiting > 0 || len(reply.Grants) == 0 {
		return time.Time{}
	}
	sendAt, _ := c.clock.Local(reply.Grants[len(reply.Grants)-1].SendAt)
	return sendAt
}

// refuseUnservable refuses the waiters for which every key that they may use is disabled. It reports whether it refused
// any, and none is left of those that were asked for.
func (c *Controller) refuseUnservable(reply *scripts.PoolReply, x *exchange) bool {
	servable, refused := false, false
	waiters := x.batch.waiters
	for i, d := range x.batch.demands {
		its := waiters[reply.Admitted[i]:d.Count]
		waiters = waiters[d.Count:]
		why := unservable(reply, i)
		if why == nil {
			servable = servable || len(its) > 0
			continue
		}
		for _, w := range its {
			if w.fifo != nil {
				c.queue.refuse(w, why)
				refused = true
			}
		}
	}
	return refused && !servable
}

// unservable returns why the calls of a demand that aren't admitted can't be served at all; nil: they can.
func unservable(reply *scripts.PoolReply, demand int) *Refusal {
	switch reply.Blocked[demand] {
	case scripts.ConstraintDisabled:
		return &Refusal{Err: ErrNoKeys, Detail: reply.Reason, RetryAfter: max(reply.Wake, 0), Limit: NoLimit}
	case scripts.ConstraintExcluded:
		return &Refusal{Err: ErrExcluded, RetryAfter: max(reply.Wake, 0), Limit: NoLimit}
	default:
		return nil
	}
}

// refuseExpired refuses the waiters whose deadline is no later than at, when the first of those that were asked for can
// be admitted. Another waiter can't be admitted before such a waiter that may take every target, if it isn't served
// before it and costs no less.
func (c *Controller) refuseExpired(at time.Time, reply *scripts.PoolReply, x *exchange) {
	first := map[int]*waiter{} // by model group and tenant
	for _, w := range x.batch.waiters {
		switch f := first[c.queue.place(w)]; {
		case w.fifo == nil:
		case w.expiresBy(at):
			c.refuse(w, reply.Wake, reply.Constraint)
		case len(w.Exclude) == 0 && (f == nil || w.Priority > f.Priority):
			first[c.queue.place(w)] = w
		}
	}
	if len(first) == 0 {
		return
	}
	for _, w := range c.queue.expiringBy(at) {
		if f := first[c.queue.place(w)]; f != nil && w.notServedBefore(f) {
			c.refuse(w, reply.Wake, reply.Constraint)
		}
	}
}

// refuse refuses a waiter that can't be admitted before its deadline.
func (c *Controller) refuse(w *waiter, wait time.Duration, constraint int) {
	c.queue.refuse(w, &Refusal{Err: ErrDeadline, RetryAfter: wait, Limit: max(constraint, NoLimit)})
}

// grant answers a waiter with a booking.
func (c *Controller) grant(w *waiter, b *booking, now time.Time) {
	*w.grant = Grant{booking: *b, controller: c, waits: c.waitTotals.of(w.group, now).since(w.before)}
	c.queue.answer(w, nil)
}

// passOn gives a booking that nothing was sent with, and its permit, to the next waiter that it fits, and returns that
// waiter. If there is none, or the key is gone, it returns the permit and daily counts, and nil.
func (c *Controller) passOn(b *booking) *waiter {
	if c.topology.has(b.Account(), b.key) {
		if w := c.queue.nextEligible(b, c.groups.list); w != nil {
			c.grant(w, b, time.Now())
			return w
		}
	}
	c.refundDailyCounts(b)
	c.permits.release(b.target.account.tally)
	c.released()
	return nil
}

// released is for a permit that has been returned. It reports whether the loop must look for reasons to call Redis.
func (c *Controller) released() (wake bool) {
	first := c.permits.unreportedSince.IsZero()
	if first {
		c.permits.unused(time.Now())
	}
	permitHelps := c.waitFor == forPermit
	if permitHelps {
		c.waitFor = forCall
	}
	return c.permits.limited && (permitHelps || first) || c.draining
}

// refundDailyCounts gives back what a booking that nothing was sent with was charged of daily counts.
func (c *Controller) refundDailyCounts(b *booking) {
	c.correct(b, func(l *Limit) int64 {
		if !l.daily() {
			return 0
		}
		return -b.units[l.Metric]
	})
}

// currentLease returns the context of the calls that are admitted now; nil: their permits can't be lost.
func (c *Controller) currentLease() context.Context {
	if c.lease == nil {
		return nil
	}
	return c.lease.ctx
}
