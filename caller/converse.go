package caller

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
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
			p.gather()
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

// gather lets goroutines that are ready to run join the next batch: those that the last answer has woken. It doesn't
// wait: when as many wait as were admitted then, when nobody else comes, or after a few rounds, it is over. After a batch of
// one it does nothing, so that a lone caller loses no time.
func (p *pool) gather() {
	for range 16 {
		n := p.queue.len()
		if n >= p.admitted {
			return
		}
		p.mu.Unlock()
		runtime.Gosched()
		p.mu.Lock()
		if p.queue.len() == n {
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
	p.samplesDue(sooner)
	if p.toldUse+p.toldWant > 0 {
		sooner(p.told.Add(p.plan.Tuning.SessionTTL / 3))
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
	q := &question{layout: p.layout, batch: p.queue.head(p.reach, p.layout, p.plan.Tuning.Horizon)}
	p.seq++
	q.call = &scripts.PoolCall{Config: p.layout.shape, Seq: p.seq, Demands: q.batch.demands}
	q.call.Expected = p.memory.known(now, p.inUse > 0 && p.plan.Concurrency > 0)
	if deadline, ok := p.clock.Server(now.Add(callTimeout)); ok {
		q.call.Deadline = deadline
	}
	if p.plan.Concurrency > 0 {
		q.call.Held = p.layout.held()
		q.held = p.inUse
	}
	q.news = p.news.take(p.seq, now)
	q.call.Reports = append(q.news.reports(p.layout, now, p.plan.Tuning.SessionTTL), p.takeSamples(now)...)
	p.unsaid, p.came, p.pressed = time.Time{}, false, false
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
	p.clock.Observe(sent, received, reply.Now)
	var woken []*waiter
	p.mu.Lock()
	defer func() {
		p.mu.Unlock()
		for _, w := range woken { // who would else wait for the lock
			w.wake()
		}
	}()
	p.failures, p.failure, p.notUntil = 0, nil, time.Time{}
	p.told, p.others = sent, reply.Waiting > 0
	p.admitted = len(reply.Grants)
	p.toldUse, p.toldWant = 0, len(q.batch.waiters)-len(reply.Grants)
	if p.plan.Concurrency > 0 {
		p.toldUse = q.held + len(reply.Grants)
	}
	if p.lease != nil {
		p.lease.renew(sent, p.toldUse > 0)
	}
	q.news.heard()
	p.memory.mark = reply.Version
	p.memory.told(q.news.list)
	// Asking for many more calls than are admitted would cost Redis time for nothing.
	p.reach = min(maxBatch, max(minBatch, 2*len(reply.Grants)))
	if p.toldWant == 0 {
		p.reach = maxBatch
	}
	woken = p.handOut(reply, q)
	p.schedule(received, reply, q)
	q.batch.over()
	for _, w := range woken {
		w.spent = true
	}
}

// failed takes in a script call without an answer. What Redis refuses it will refuse again: the callers get the error.
// Everything else is tried again, for as long as the callers wait.
func (p *pool) failed(now time.Time, err error, q *question) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer q.batch.over()
	p.unsaid = cmp.Or(p.unsaid, now)
	if errors.Is(err, scripts.ErrLate) {
		p.clock.Forget() // or every call might be late, for ever
	}
	outcome := scripts.OutcomeOf(err)
	p.news.again(q.news, q.call.Seq, outcome)
	if errors.Is(err, scripts.ErrLost) {
		p.news.mention(p.memory.restore(errors.Is(err, scripts.ErrLostAll), now))
		p.askAt = time.Time{}
		return // which says nothing against this Redis
	}
	switch outcome {
	case scripts.Unknown:
		// It may have run: what it asked for may be held, and is to be given back.
		p.toldWant = max(p.toldWant, len(q.batch.waiters))
	case scripts.Rejected:
		for _, w := range q.batch.waiters {
			if w.line != nil {
				p.queue.refuse(w, &Error{Pool: p.plan.Name, Err: err})
			}
		}
	case scripts.NotRun: // as if it had never been sent
	}
	backoff := min(minBackoff<<min(p.failures, 10), maxBackoff)
	p.failures++
	p.failure = err
	p.notUntil = now.Add(backoff/2 + rand.N(backoff))
}
