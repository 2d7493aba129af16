package caller

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/penstock/penstock/scripts"
)

// handOut gives the grants to the first waiters of each demand, and returns whom to wake. Those who left meanwhile leave
// their grants to others.
func (p *pool) handOut(reply *scripts.PoolReply, q *question) []*waiter {
	woken := make([]*waiter, 0, len(reply.Grants))
	waiters, grants := q.batch.waiters, reply.Grants
	var at int64
	var slot time.Time
	for i, d := range q.batch.demands {
		p.remember(grants[:reply.Admitted[i]], d.Cost, q.layout)
		for n, w := range waiters[:reply.Admitted[i]] {
			if grants[n].SendAt != at {
				at = grants[n].SendAt
				slot, _ = p.clock.Local(at)
			}
			g := p.grant(grants[n], slot, d.Cost, q.layout)
			gone := w.line == nil
			if !gone && w.before(slot) {
				p.refuse(w, time.Until(slot), reply.Constraint)
				gone = true
			}
			if gone {
				w = p.heir(g)
			}
			if w == nil {
				p.unsaid = cmp.Or(p.unsaid, time.Now())
				p.uncount(g)
				continue
			}
			a := g.lane.account
			a.held++
			a.met.peak = max(a.met.peak, a.held)
			p.inUse++
			p.queue.answer(w, g, nil)
			woken = append(woken, w)
		}
		waiters, grants = waiters[d.Count:], grants[reply.Admitted[i]:]
	}
	return woken
}

// remember notes what equal calls were admitted: whatever becomes of them, Redis has charged it.
func (p *pool) remember(grants []scripts.PoolGrant, cost []int64, l *layout) {
	for len(grants) > 0 {
		n := 1
		for n < len(grants) && grants[n].Target == grants[0].Target && grants[n].SendAt == grants[0].SendAt {
			n++
		}
		slot, _ := p.clock.Local(grants[0].SendAt)
		p.memory.admitted(p.plan, &l.lanes[grants[0].Target], slot, int64(n), cost)
		grants = grants[n:]
	}
}

// grant makes what an admitted call gets.
func (p *pool) grant(g scripts.PoolGrant, slot time.Time, cost []int64, l *layout) *Grant {
	lane := &l.lanes[g.Target]
	key := &lane.keys[g.Key]
	out := &Grant{
		Key: key.ID, Account: lane.account.id, secret: key.Secret, slot: slot, lane: lane, trial: g.Trial, pool: p, cost: cost,
	}
	if p.lease != nil {
		out.lease = p.lease.current()
	}
	return out
}

// schedule sets when to ask again for those who were not admitted, and sends those away whose turn comes too late.
func (p *pool) schedule(now time.Time, reply *scripts.PoolReply, q *question) {
	hopeless := p.refuseHopeless(reply, q)
	p.permits = p.toldWant > 0 && reply.Poll
	if p.permits {
		p.heed()
	}
	p.stats.blocked(now, p.binding(reply.Constraint), p.waitsUntil(reply))
	switch {
	case p.toldWant == 0 || hopeless: // whoever is left wasn't asked for
		p.askAt = time.Time{}
	case p.pressed || p.came && reply.Wake > longWait || p.permits && !p.unsaid.IsZero():
		p.askAt = time.Time{} // something has changed while the call was under way
	case reply.Wake == scripts.PoolPoll:
		p.askAt = now.Add(pollPermits/2 + rand.N(pollPermits))
	default:
		wait := max(reply.Wake, p.plan.Tuning.Horizon/16)
		if p.permits { // one that comes back may help before
			wait = min(wait, pollPermits/2+rand.N(pollPermits))
		} else {
			p.refuseLate(now.Add(reply.Wake), reply, q)
		}
		p.askAt = now.Add(wait)
	}
}

// refuseHopeless sends those away for whom every key that they may use is disabled, and reports whether nobody else is
// left of those who were asked for.
func (p *pool) refuseHopeless(reply *scripts.PoolReply, q *question) bool {
	others, refused := false, false
	waiters := q.batch.waiters
	for i, d := range q.batch.demands {
		its := waiters[reply.Admitted[i]:d.Count]
		waiters = waiters[d.Count:]
		err := errNoOther
		switch reply.Blocked[i] {
		case scripts.ConstraintDisabled:
			err = fmt.Errorf("%w (%s)", ErrNoKeys, reply.Reason)
		case scripts.ConstraintExcluded:
		default:
			others = others || len(its) > 0
			continue
		}
		for _, w := range its {
			if w.line != nil {
				p.queue.refuse(w, &Error{Pool: p.plan.Name, RetryAfter: max(reply.Wake, 0), Err: err})
				refused = true
			}
		}
	}
	return refused && !others
}

// waitsUntil returns until when the calls admitted wait for their slots; zero where others were not admitted.
func (p *pool) waitsUntil(reply *scripts.PoolReply) time.Time {
	if p.toldWant > 0 || len(reply.Grants) == 0 {
		return time.Time{}
	}
	slot, _ := p.clock.Local(reply.Grants[len(reply.Grants)-1].SendAt)
	return slot
}

// refuseLate sends away those who can't be admitted in time. Nobody of whom Redis was asked is admitted before at, nor is
// anybody before one of them who may take no more lanes, comes later, and costs no less.
func (p *pool) refuseLate(at time.Time, reply *scripts.PoolReply, q *question) {
	first := map[int]*waiter{} // by family
	for _, w := range q.batch.waiters {
		switch f := first[w.family]; {
		case w.line == nil:
		case w.before(at):
			p.refuse(w, reply.Wake, reply.Constraint)
		case len(w.except) == 0 && (f == nil || w.priority > f.priority):
			first[w.family] = w
		}
	}
	if len(first) == 0 {
		return
	}
	for _, w := range p.queue.late(at) {
		if f := first[w.family]; f != nil && w.behind(f) {
			p.refuse(w, reply.Wake, reply.Constraint)
		}
	}
}

// refuse sends a waiter away whose turn comes after its deadline.
func (p *pool) refuse(w *waiter, wait time.Duration, binding int) {
	err := &Error{Pool: p.plan.Name, RetryAfter: wait, Err: ErrDeadline}
	if binding >= 0 {
		limit := &p.plan.Limits[binding]
		err.Metric, err.Limit, err.Cost = limit.Metric, limit.Usable(), w.cost[p.plan.index[binding]]
	}
	p.queue.refuse(w, err)
}

// binding names what is in the way.
func (p *pool) binding(binding int) string {
	switch {
	case binding >= 0:
		return string(p.plan.Limits[binding].Metric)
	case binding == scripts.ConstraintPermits:
		return ConstraintConcurrency
	case binding == scripts.ConstraintCooldown:
		return ConstraintCooldown
	}
	return ""
}
