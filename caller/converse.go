package caller

import (
	"cmp"
	"context"
	"errors"
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
			c := p.compose(now)
			p.mu.Unlock()
			p.ask(ctx, c)
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
	if p.news.urgent {
		sooner(time.Time{})
	}
	if !p.news.empty() {
		sooner(p.news.since.Add(reportIdle))
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
	if p.closing && p.inUse == 0 {
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
	told := p.toldUse+p.toldWant == 0 && p.news.empty()
	return p.closing && p.inUse == 0 && (told || p.failures >= closingTries)
}

// question is one script call and what its answer is for.
type question struct {
	call   *scripts.PoolCall
	layout *layout
	batch  batch
	news   news
	held   int
}

// compose writes the next script call.
func (p *pool) compose(now time.Time) *question {
	if !p.layout.ends.IsZero() && !p.layout.ends.After(now) {
		p.layout = p.plan.layOut(p.accounts, p.families.list, now)
	}
	q := &question{layout: p.layout, batch: p.queue.head(p.reach, p.layout, p.plan.Horizon)}
	p.seq++
	q.call = &scripts.PoolCall{Shape: p.layout.shape, Seq: p.seq, Demands: q.batch.demands}
	if deadline, ok := p.clock.Server(now.Add(callTimeout)); ok {
		q.call.Deadline = deadline
	}
	if p.plan.Concurrency > 0 {
		q.call.Held = p.layout.held()
		q.held = p.inUse
	}
	q.news = p.news.take(p.seq, now)
	q.call.Reports = q.news.reports(p.layout, now, p.plan.TTL)
	p.unsaid = time.Time{}
	return q
}

// ask makes a script call and hands its answers out.
func (p *pool) ask(ctx context.Context, q *question) {
	sent := time.Now()
	reply, err := p.send(ctx, q.call)
	received := time.Now()
	if err != nil {
		p.failed(received, err, q)
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
	p.toldUse, p.toldWant = 0, q.batch.size()-len(reply.Grants)
	if p.plan.Concurrency > 0 {
		p.toldUse = q.held + len(reply.Grants)
	}
	q.news.heard()
	// Asking for many more calls than are admitted would cost Redis time for nothing.
	p.reach = min(maxBatch, max(minBatch, 2*len(reply.Grants)))
	if p.toldWant == 0 {
		p.reach = maxBatch
	}
	p.handOut(reply, q)
	p.schedule(received, reply)
}

// handOut gives the grants to the first waiters of each run. Those who left meanwhile leave their permit.
func (p *pool) handOut(reply *scripts.PoolReply, q *question) {
	grants := reply.Grants
	for i, run := range q.batch.runs {
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
			l := &q.layout.lanes[g.Lane]
			l.account.held++
			p.inUse++
			p.queue.settle(w, &Grant{
				Key: l.keys[g.Key].ID, Account: l.account.id, secret: l.keys[g.Key].Secret,
				slot: slot, lane: l, trial: g.Trial, pool: p,
			}, nil)
		}
	}
}

// schedule sets when to ask again for those who were not admitted, and sends those away whose turn comes too late.
func (p *pool) schedule(now time.Time, reply *scripts.PoolReply) {
	p.permits = p.toldWant > 0 && reply.Poll
	if p.permits {
		p.heed()
	}
	p.stats.blocked(now, p.binding(reply.Binding), p.waitsUntil(reply))
	switch {
	case p.toldWant == 0 || p.permits && !p.unsaid.IsZero(): // permits came back while the call was under way
		p.askAt = time.Time{}
	case reply.Binding == scripts.BindingDisabled:
		for _, w := range p.queue.all() {
			p.queue.settle(w, nil, &Error{Pool: p.plan.Pool, RetryAfter: reply.Wake,
				Err: fmt.Errorf("%w (%s)", ErrNoKeys, reply.Reason)})
		}
	case reply.Wake == scripts.PoolPoll:
		p.askAt = now.Add(pollPermits/2 + rand.N(pollPermits))
	default:
		wait := max(reply.Wake, p.plan.Horizon/16)
		if p.permits { // one that comes back may help before
			wait = min(wait, pollPermits/2+rand.N(pollPermits))
		} else {
			p.refuseLate(now.Add(reply.Wake), reply)
		}
		p.askAt = now.Add(wait)
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
		limit := p.plan.Limits[binding]
		err.Metric, err.Limit, err.Cost = limit.Metric, limit.Limit, w.cost[slices.Index(p.plan.metrics, limit.Metric)]
	}
	p.queue.settle(w, nil, err)
}

// binding names what is in the way.
func (p *pool) binding(binding int) string {
	switch {
	case binding >= 0:
		return string(p.plan.Limits[binding].Metric)
	case binding == scripts.BindingPermits:
		return BindingConcurrency
	case binding == scripts.BindingCooldown:
		return BindingCooldown
	}
	return ""
}

// failed takes in a script call without an answer. What Redis refuses it will refuse again: the callers get the error.
// Everything else is tried again, for as long as the callers wait.
func (p *pool) failed(now time.Time, err error, q *question) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unsaid = cmp.Or(p.unsaid, now)
	if errors.Is(err, scripts.ErrLate) {
		p.clock.Forget() // or every call might be late, for ever
	}
	outcome := scripts.OutcomeOf(err)
	p.news.again(q.news, q.call.Seq, outcome)
	switch outcome {
	case scripts.Unknown:
		// It may have run: what it asked for may be held, and is to be given back.
		p.toldWant = max(p.toldWant, q.batch.size())
	case scripts.Rejected:
		for _, run := range q.batch.runs {
			for _, w := range run {
				if w.place != nil {
					p.queue.settle(w, nil, &Error{Pool: p.plan.Pool, Err: err})
				}
			}
		}
	case scripts.NotRun: // as if it had never been sent
	}
	backoff := min(minBackoff<<min(p.failures, 10), maxBackoff)
	p.failures++
	p.failure = err
	p.notUntil = now.Add(backoff/2 + rand.N(backoff))
}
