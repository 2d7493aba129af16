package caller

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
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
	if len(p.blocks) > 0 {
		sooner(time.Time{})
	}
	if p.toldUse+p.toldWant > 0 {
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
	told := p.toldUse+p.toldWant == 0 && len(p.blocks) == 0
	return p.closing && p.inUse == 0 && (told || p.failures >= closingTries)
}

// compose writes the next script call.
func (p *pool) compose(now time.Time) (*scripts.PoolCall, batch) {
	b := p.queue.head(maxBatch, len(p.plan.accounts))
	p.seq++
	call := &scripts.PoolCall{Shape: p.plan.shape, Seq: p.seq, Demands: b.demands}
	if deadline, ok := p.clock.Server(now.Add(callTimeout)); ok {
		call.Deadline = deadline
	}
	if p.plan.Concurrency > 0 {
		call.Held = slices.Clone(p.held)
	}
	for _, b := range p.blocks {
		b.For = b.until.Sub(now)
		call.Blocks = append(call.Blocks, b.PoolBlock)
	}
	p.unsaid = time.Time{}
	return call, b
}

// ask makes a script call and hands its answers out.
func (p *pool) ask(ctx context.Context, call *scripts.PoolCall, b batch) {
	sent := time.Now()
	reply, err := p.send(ctx, call)
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
	p.blocks = p.blocks[len(call.Blocks):]
	p.toldUse, p.toldWant = 0, -len(reply.Grants)
	if p.plan.Concurrency > 0 {
		p.toldUse = len(reply.Grants)
	}
	for _, held := range call.Held {
		p.toldUse += held
	}
	p.toldWant += b.size()
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
			slot, _ := p.clock.Local(g.Slot)
			if w.place != nil && w.before(slot) {
				p.refuse(w, time.Until(slot), reply.Binding)
			}
			if w.place == nil {
				p.unsaid = cmp.Or(p.unsaid, time.Now())
				continue
			}
			a := p.plan.accounts[g.Lane]
			p.held[g.Lane]++
			p.inUse++
			p.queue.settle(w, &Grant{
				Key: a.keys[g.Key].ID, Account: a.id, secret: a.keys[g.Key].Secret,
				slot: slot, lane: g.Lane, pool: p,
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
		if w.before(at) {
			p.refuse(w, reply.Wake, reply.Binding)
		}
	}
}

// refuse sends a waiter away whose turn comes after its deadline.
func (p *pool) refuse(w *waiter, wait time.Duration, binding int) {
	err := &Error{Pool: p.plan.Pool, RetryAfter: wait, Err: ErrDeadline}
	if binding >= 0 {
		l := p.plan.limitOf(binding)
		err.Metric, err.Limit, err.Cost = l.Metric, l.Limit, w.cost[slices.Index(p.plan.metrics, l.Metric)]
	}
	p.queue.settle(w, nil, err)
}

// failed takes in a script call without an answer. What Redis refuses it will refuse again: the callers get the error.
// Everything else is tried again, for as long as the callers wait.
func (p *pool) failed(now time.Time, err error, b batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unsaid = cmp.Or(p.unsaid, now)
	if scripts.OutcomeOf(err) == scripts.Unknown {
		// It may have run: what it asked for may be held, and is to be given back.
		p.toldWant = max(p.toldWant, b.size())
	}
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
