package caller

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/penstock/penstock/scripts"
)

// converse is the loop that talks to Redis. It ends with ctx.
func (p *pool) converse(ctx context.Context) {
	defer close(p.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		p.mu.Lock()
		if p.over() {
			p.mu.Unlock()
			return
		}
		at, idle := p.next()
		now := time.Now()
		if !idle && !at.After(now) {
			call, b := p.compose(now)
			p.mu.Unlock()
			p.ask(ctx, call, b)
			if ctx.Err() != nil {
				return
			}
			continue
		}
		p.mu.Unlock()
		if idle {
			timer.Stop()
		} else {
			timer.Reset(at.Sub(now))
		}
		select {
		case <-p.kick:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// next returns when Redis has to be asked or told something, or that there is nothing to ask or tell.
func (p *pool) next() (at time.Time, idle bool) {
	idle = true
	sooner := func(t time.Time) {
		if idle || t.Before(at) {
			at, idle = t, false
		}
	}
	if p.queue.len() > 0 {
		sooner(p.askAt)
	}
	if len(p.reports) > 0 {
		sooner(time.Time{})
	}
	if p.toldUse > 0 && p.plan.Concurrency > 0 || p.toldWant > 0 {
		sooner(p.told.Add(p.plan.TTL / 3))
	}
	if !p.unsaid.IsZero() && p.plan.Concurrency > 0 {
		if p.others {
			sooner(p.unsaid)
		}
		sooner(p.unsaid.Add(reportIdle))
	}
	if p.closing && p.inUse == 0 && p.toldUse+p.toldWant > 0 {
		sooner(time.Time{})
	}
	if p.toldWant > 0 && p.queue.len() == 0 {
		sooner(p.told.Add(reportIdle))
	}
	if !idle && at.Before(p.notUntil) {
		at = p.notUntil
	}
	return at, idle
}

// over reports whether the pool is closed and there is nothing left to do, or to be done.
func (p *pool) over() bool {
	return p.closing && p.inUse == 0 && (p.toldUse+p.toldWant == 0 || p.failures >= closingTries)
}

// compose writes the next script call.
func (p *pool) compose(now time.Time) (*scripts.PoolCall, batch) {
	b := p.queue.head(maxBatch)
	p.seq++
	call := &scripts.PoolCall{
		Session: p.session, Seq: p.seq, TTL: p.plan.TTL, Horizon: p.plan.Horizon,
		Limits: p.plan.limits, Demands: b.demands,
	}
	if deadline, ok := p.clock.Server(now.Add(callTimeout)); ok {
		call.Deadline = deadline
	}
	for i, a := range p.plan.accounts {
		t := scripts.PoolAccount{Name: a.id, Permits: p.plan.Concurrency, Held: p.held[i]}
		for _, k := range a.keys {
			t.Keys = append(t.Keys, k.ID)
		}
		call.Accounts = append(call.Accounts, t)
	}
	for _, r := range p.reports {
		r.For = r.until.Sub(now)
		call.Reports = append(call.Reports, r.PoolReport)
	}
	p.unsaid = time.Time{}
	return call, b
}

// ask makes a script call and hands its answers out.
func (p *pool) ask(ctx context.Context, call *scripts.PoolCall, b batch) {
	sent := time.Now()
	callCtx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	reply, err := scripts.Admit(callCtx, p.rdb, p.plan.Pool, call)
	cancel()
	received := time.Now()
	if err != nil {
		p.failed(received, err, b)
		if hook := p.plan.Hooks.RedisFailed; hook != nil && ctx.Err() == nil {
			hook(err)
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock.Observe(sent, received, reply.Now)
	p.failures, p.failure, p.notUntil = 0, nil, time.Time{}
	p.told, p.others = sent, reply.Waiting > 0
	p.reports = p.reports[len(call.Reports):]
	p.toldUse, p.toldWant = len(reply.Grants), -len(reply.Grants)
	for _, a := range call.Accounts {
		p.toldUse += a.Held
	}
	for _, d := range call.Demands {
		p.toldWant += d.Count
	}
	p.handOut(reply, b)
	p.schedule(received, reply)
}

// handOut gives the grants to the first waiters of each run. Those who left meanwhile leave their permit.
func (p *pool) handOut(reply *scripts.PoolReply, b batch) {
	grants := reply.Grants
	for i, run := range b.runs {
		for _, w := range run[:reply.Admitted[i]] {
			g := grants[0]
			grants = grants[1:]
			if w.place == nil {
				p.unsaid = cmp.Or(p.unsaid, time.Now())
				continue
			}
			a := p.plan.accounts[g.Account]
			slot, _ := p.clock.Local(g.Slot)
			p.held[g.Account]++
			p.inUse++
			p.queue.settle(w, &Grant{
				Key: a.keys[g.Key].ID, Account: a.id, secret: a.keys[g.Key].Secret,
				slot: slot, account: g.Account, pool: p,
			}, nil)
		}
	}
}

// schedule sets when to ask again for those who were not admitted, and sends those away whose turn comes too late.
func (p *pool) schedule(now time.Time, reply *scripts.PoolReply) {
	p.permits = p.toldWant > 0 && reply.Wake == scripts.PoolPoll
	p.stats.blocked(now, reply.Binding, p.waitsUntil(reply))
	switch {
	case p.toldWant == 0:
		p.askAt = time.Time{}
	case p.permits && !p.unsaid.IsZero():
		p.askAt = time.Time{} // permits came back while the call was under way
	case p.permits:
		p.askAt = now.Add(pollPermits/2 + rand.N(pollPermits))
	case reply.Binding == scripts.BindingDisabled:
		for _, w := range p.queue.all() {
			p.queue.settle(w, nil, &Error{Pool: p.plan.Pool, RetryAfter: reply.Wake,
				Err: fmt.Errorf("%w (%s)", ErrNoKeys, reply.Reason)})
		}
	default:
		p.askAt = now.Add(max(reply.Wake, p.plan.Horizon/8))
		p.refuseLate(now.Add(reply.Wake), reply)
	}
}

// waitsUntil returns until when the calls admitted wait for their slots; zero where others were not admitted.
func (p *pool) waitsUntil(reply *scripts.PoolReply) time.Time {
	if p.toldWant > 0 || len(reply.Grants) == 0 {
		return time.Time{}
	}
	slot, _ := p.clock.Local(reply.Grants[len(reply.Grants)-1].Slot)
	return slot
}

// refuseLate sends away the waiters who can't be admitted in time. Nobody is admitted before at.
func (p *pool) refuseLate(at time.Time, reply *scripts.PoolReply) {
	for _, w := range p.queue.all() {
		if w.deadline.IsZero() || w.deadline.After(at) {
			continue
		}
		err := &Error{Pool: p.plan.Pool, RetryAfter: reply.Wake, Err: ErrDeadline}
		if i := reply.Binding; i >= 0 {
			err.Metric, err.Limit, err.Cost = p.plan.Limits[i].Metric, p.plan.Limits[i].Limit, w.cost[i]
		}
		p.queue.settle(w, nil, err)
	}
}

// failed takes in a script call without an answer. What Redis refuses it will refuse again: the callers get the error.
// Everything else is tried again, for as long as the callers wait.
func (p *pool) failed(now time.Time, err error, b batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unsaid = cmp.Or(p.unsaid, now)
	if scripts.OutcomeOf(err) == scripts.Rejected {
		for _, run := range b.runs {
			for _, w := range run {
				if w.place != nil {
					p.queue.settle(w, nil, &Error{Pool: p.plan.Pool, Err: err})
				}
			}
		}
	}
	backoff := min(minBackoff<<min(p.failures, 10), maxBackoff)
	p.failures++
	p.failure = err
	p.notUntil = now.Add(backoff/2 + rand.N(backoff))
}
