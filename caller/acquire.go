package caller

import (
	"context"
	"fmt"
	"time"
)

// acquire waits for admission and for the slot.
func (p *pool) acquire(ctx context.Context, o order) (*Grant, error) {
	begun := time.Now()
	for late := 0; ; late++ {
		g, err := p.admit(ctx, o)
		if err != nil {
			return nil, err
		}
		behind := time.Since(g.slot)
		if behind < 0 {
			if err := sleep(ctx, -behind); err != nil {
				p.giveUp(g)
				return nil, err
			}
			behind = time.Since(g.slot)
		}
		if late == 1 || !p.missed(g, behind) {
			if hook := p.plan.Hooks.Admitted; hook != nil {
				hook(Admission{Key: g.Key, Account: g.Account, Waited: time.Since(begun)})
			}
			return g, nil
		}
		g.release()
		p.stats.missed.Add(1)
		o.again = true
	}
}

// sleep waits that long, or until ctx ends.
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

// missed reports whether a slot is to be given up for a new one. A process that was held up for longer than the slack
// allows for (a quarter of it is the network's) would bring its calls to the provider in a bunch. Not so a call that
// has much of a limit to itself, and would lose that. And no call misses a second slot: where all are late, they are
// late alike, and nothing would be left of the quota.
func (p *pool) missed(g *Grant, behind time.Duration) bool {
	if behind < max(p.plan.Tuning.ArrivalJitter*3/4, timers) {
		return false
	}
	for _, limit := range g.lane.limits {
		units := g.cost[p.plan.index[limit]]
		if p.plan.paces[limit].interval*float64(units) > 10*p.plan.Tuning.ArrivalJitter.Seconds() {
			return false
		}
	}
	return len(g.lane.limits) > 0
}

// admit waits until Redis admits the call.
func (p *pool) admit(ctx context.Context, o order) (*Grant, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	w := p.waiter(o)
	w.deadline, _ = ctx.Deadline()
	ask, err := p.enqueue(w)
	if err != nil {
		return nil, err
	}
	if ask {
		p.wake()
	}
	select {
	case <-w.ready:
		return p.answered(w)
	case <-ctx.Done():
	}
	p.mu.Lock()
	left := w.line != nil
	p.queue.remove(w)
	failure := p.failure
	p.mu.Unlock()
	if !left { // the answer came first
		<-w.ready
		if g, err := p.answered(w); err == nil {
			p.giveUp(g)
		}
	}
	err = context.Cause(ctx)
	if failure != nil {
		err = &Error{Pool: p.plan.Name, Err: fmt.Errorf("%w while Redis didn't answer: %w", err, failure)}
	}
	return nil, err
}

// waiter returns one for an order that comes now.
func (p *pool) waiter(o order) *waiter {
	w, ok := p.spare.Get().(*waiter)
	if !ok {
		w = &waiter{ready: make(chan struct{}, 1)}
	}
	w.order, w.since = o, time.Now()
	return w
}

// answered returns the answer of a waiter that has been woken, and puts it away.
func (p *pool) answered(w *waiter) (*Grant, error) {
	g, err := w.grant, w.err
	if w.spent {
		*w = waiter{ready: w.ready}
		p.spare.Put(w)
	}
	return g, err
}

// enqueue puts w in its line, and says whether Redis is to be asked at once.
func (p *pool) enqueue(w *waiter) (ask bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := p.queue.len()
	switch {
	case p.closing:
		return false, &Error{Pool: p.plan.Name, Err: ErrClosed}
	case waiting >= p.plan.Tuning.MaxWaiting:
		return false, &Error{Pool: p.plan.Name, Err: ErrQueueFull}
	}
	var added bool
	if w.family, added = p.families.of(p.plan, w.model); added {
		p.layout = p.plan.layOut(p.accounts, p.families.list, time.Now())
	}
	// The time to ask is that of the calls that came before. A call that goes before those for the same models, or is
	// the only one for them, may fit earlier, and one that can't wait so long is to hear of it at once. Where those wait
	// for long, as for the next day of a daily limit, one that costs less may fit at once, too.
	ask = waiting == 0
	if p.queue.urgent(w) || !p.permits && (w.before(p.askAt) || p.askAt.Sub(w.since) > longWait) {
		p.askAt, p.pressed, ask = time.Time{}, true, true
	}
	p.queue.add(w)
	p.came = true
	return ask, nil
}

// giveUp takes back a grant before its slot that nothing was sent with. Its place in the limits isn't given back to Redis:
// others have been booked behind it, and a limit could be exceeded there. So another waiter gets it, the first one that
// it does for. If there is none, the permit goes back, and what a daily count was charged.
func (p *pool) giveUp(g *Grant) {
	g.once.Do(func() {
		p.mu.Lock()
		w := p.heir(g)
		if w != nil {
			p.queue.answer(w, g.inherited(), nil)
		} else {
			p.uncount(g)
		}
		p.mu.Unlock()
		if w != nil {
			w.wake()
			return
		}
		p.release(g.lane.account)
		p.wake() // so that Redis hears of it soon, also if no call follows
	})
}

// uncount gives back what a grant that nothing was sent with was charged of daily counts.
func (p *pool) uncount(g *Grant) {
	for i, limit := range g.lane.limits {
		if units := g.cost[p.plan.index[limit]]; p.plan.Limits[limit].Algorithm == Daily && units > 0 {
			p.news.settle(g.lane.counters[i], -units)
			p.memory.settled(g.lane.counters[i], -units)
		}
	}
}

// heir returns the first waiter of a line that a grant does for, those of higher priority first; nil if there is none.
func (p *pool) heir(g *Grant) *waiter {
	for i := len(p.queue.lines) - 1; i >= 0; i-- {
		w := p.queue.lines[i].first
		if w != nil && g.does(w, p.families.list[w.family].name) {
			return w
		}
	}
	return nil
}
