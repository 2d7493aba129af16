package caller

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/scripts"
)

const (
	// maxBatch bounds what one script call admits, and so how long it keeps Redis from others.
	maxBatch = 1024
	// minBatch is how many calls are asked for at least, if so many wait.
	minBatch = 64
	// pollPermits is how often a process looks whether another one gave permits back, should no message say so.
	pollPermits = 250 * time.Millisecond
	// reportIdle is how long permits that nobody here waits for may lie before the others hear of them.
	reportIdle = 20 * time.Millisecond
	// callTimeout is when a script call that hasn't reached Redis is void.
	callTimeout = time.Second
	// maxLines is how many script calls may hang in the Redis client, given up by the loop.
	maxLines = 4
	// timers is how late a timer may be on a machine that isn't busy.
	timers = 5 * time.Millisecond
	// Redis in trouble is asked again after a backoff between these, with jitter.
	minBackoff, maxBackoff = 20 * time.Millisecond, time.Second
	// longWait is what calls that come later don't wait for without asking themselves.
	longWait = time.Second
	// closingTries is how often Close tries to tell a Redis in trouble.
	closingTries = 3
)

// pool is this process's part in the pool: the queue of waiters, the permits it holds, and the one conversation with
// Redis that all its calls share. While a script call is under way, the next batch gathers.
type pool struct {
	plan  *plan
	rdb   redis.UniversalClient
	clock scripts.Clock
	stats stats

	kick   chan struct{} // wakes the loop
	lines  chan struct{} // one element for each script call that hasn't ended
	ended  chan struct{} // closed when the loop has ended
	cancel context.CancelFunc
	heed   func()        // starts listening, once
	deaf   chan struct{} // closed when that has ended; nil: it hasn't begun

	mu       sync.Mutex
	queue    queue
	accounts []*account
	families families
	layout   *layout
	inUse    int // calls admitted and not over
	news     news
	closing  bool

	askAt    time.Time // when to ask again for those who wait; zero: at once
	permits  bool      // they wait for permits, not for a time
	told     time.Time // when the last report got through
	toldUse  int       // permits in use, as Redis knows it
	toldWant int       // calls waiting, as Redis knows it
	unsaid   time.Time // since when permits have been back that Redis doesn't know of; zero: none
	others   bool      // other sessions wait
	notUntil time.Time // backoff
	failures int
	failure  error // why the last script call failed; nil: it didn't
	seq      int64
	reach    int // how many waiters the next script call asks for
}

func newPool(rdb redis.UniversalClient, p *plan) *pool {
	ctx, cancel := context.WithCancel(context.Background())
	l := &pool{
		plan: p, rdb: rdb,
		kick:     make(chan struct{}, 1),
		lines:    make(chan struct{}, maxLines),
		ended:    make(chan struct{}),
		cancel:   cancel,
		queue:    queue{aging: p.Aging},
		reach:    maxBatch,
		accounts: p.accounts,
		families: families{models: map[string]int{}},
	}
	l.heed = sync.OnceFunc(func() {
		l.deaf = make(chan struct{})
		go func() {
			defer close(l.deaf)
			l.listen(ctx)
		}()
	})
	l.families.of(p, "")
	l.layout = p.layOut(l.accounts, l.families.list, time.Now())
	l.stats.begin()
	go l.converse(ctx)
	return l
}

// wake makes the loop look again.
func (p *pool) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// acquire waits for admission and for the slot.
func (p *pool) acquire(ctx context.Context, o order) (*Grant, error) {
	begun := time.Now()
	for late := 0; ; late++ {
		g, err := p.admit(ctx, o)
		if err != nil {
			return nil, err
		}
		if err := sleepUntil(ctx, g.slot); err != nil {
			g.release()
			return nil, err
		}
		if late == 1 || !p.missed(g, o.cost) {
			if hook := p.plan.Hooks.Admitted; hook != nil {
				hook(Admission{Key: g.Key, Account: g.Account, Waited: time.Since(begun)})
			}
			return g, nil
		}
		g.release()
		p.stats.missedSlot()
		o.again = true
	}
}

// missed reports whether a slot is to be given up for a new one. A process that was held up for longer than the slack
// allows for (a quarter of it is the network's) would bring its calls to the provider in a bunch. Not so a call that
// has much of a limit to itself, and would lose that. And no call misses a second slot: where all are late, they are
// late alike, and nothing would be left of the quota.
func (p *pool) missed(g *Grant, cost []int64) bool {
	if time.Since(g.slot) < max(p.plan.Slack*3/4, timers) {
		return false
	}
	for _, limit := range g.lane.limits {
		units := cost[slices.Index(p.plan.metrics, p.plan.Limits[limit].Metric)]
		if p.plan.paces[limit].interval*float64(units) > 10*p.plan.Slack.Seconds() {
			return false
		}
	}
	return len(g.lane.limits) > 0
}

// admit waits until Redis admits the call.
func (p *pool) admit(ctx context.Context, o order) (*Grant, error) {
	w := &waiter{order: o, since: time.Now(), ready: make(chan struct{})}
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
		return w.grant, w.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	p.queue.remove(w)
	granted, failure := w.grant, p.failure
	p.mu.Unlock()
	if granted != nil {
		granted.release()
	}
	err = context.Cause(ctx)
	if failure != nil {
		err = &Error{Pool: p.plan.Pool, Err: fmt.Errorf("%w while Redis didn't answer: %w", err, failure)}
	}
	return nil, err
}

// enqueue puts w in its line, and says whether Redis is to be asked at once.
func (p *pool) enqueue(w *waiter) (ask bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closing:
		return false, &Error{Pool: p.plan.Pool, Err: ErrClosed}
	case p.queue.len() >= p.plan.MaxWaiting:
		return false, &Error{Pool: p.plan.Pool, Err: ErrQueueFull}
	}
	var added bool
	if w.family, added = p.families.of(p.plan, w.model); added {
		p.layout = p.plan.layOut(p.accounts, p.families.list, time.Now())
	}
	// The time to ask is that of the calls that came before. A call that is alone, or goes before them, may fit
	// earlier, and one that can't wait so long is to hear of it at once. Where those wait for long, as for the next day
	// of a daily limit, one that costs less may fit at once, too.
	ask = p.queue.len() == 0
	if (p.queue.urgent(w.priority) || w.before(p.askAt) || time.Until(p.askAt) > longWait) && !p.permits {
		p.askAt, ask = time.Time{}, true
	}
	p.queue.add(w)
	return ask, nil
}

// release takes a permit back.
func (p *pool) release(a *account) {
	p.mu.Lock()
	a.held--
	p.inUse--
	if p.unsaid.IsZero() {
		p.unsaid = time.Now()
	}
	wake := p.plan.Concurrency > 0
	if p.permits {
		p.askAt = time.Time{}
	}
	wake = wake && (p.permits || p.queue.len() == 0) || p.closing
	p.mu.Unlock()
	if wake {
		p.wake()
	}
}

// tell takes in what Redis is to hear at once.
func (p *pool) tell(items ...item) {
	p.mu.Lock()
	p.news.mention(items)
	p.news.urgent = true
	p.askAt = time.Time{}
	p.mu.Unlock()
	p.wake()
}

// settle corrects what a grant was charged, by the difference of what it really cost and the estimate. Redis hears of
// it with the next call, or a moment later.
func (p *pool) settle(g *Grant, difference Cost) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.news.empty() {
		defer p.wake() // so that Redis hears of it soon, also if no call follows
	}
	for i, name := range g.lane.counters {
		if units := difference[p.plan.Limits[g.lane.limits[i]].Metric]; units != 0 {
			p.news.settle(name, units)
		}
	}
}

// mention takes in what Redis is to hear with the next call.
func (p *pool) mention(items []item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.news.mention(items)
}

// close ends all waiters, waits for the calls in flight until ctx ends, and leaves.
func (p *pool) close(ctx context.Context) error {
	p.mu.Lock()
	p.closing, p.failures = true, 0
	for _, w := range p.queue.all() {
		p.queue.settle(w, nil, &Error{Pool: p.plan.Pool, Err: ErrClosed})
	}
	p.mu.Unlock()
	p.wake()
	select {
	case <-p.ended:
	case <-ctx.Done():
	}
	p.cancel()
	<-p.ended
	if p.deaf != nil {
		// A subscription that is being restored, to a Redis that is away, ends with the client's timeouts only.
		select {
		case <-p.deaf:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.inUse > 0:
		return &Error{Pool: p.plan.Pool, Err: fmt.Errorf(
			"closed with %d calls in flight, whose permits stay taken for %v: allow Close more time", p.inUse, p.plan.TTL)}
	case p.toldUse > 0:
		err := fmt.Errorf("closed before Redis heard of the last calls' end: up to %d permits stay taken for %v", p.toldUse, p.plan.TTL)
		if p.failure != nil {
			err = fmt.Errorf("%w: %w", err, p.failure)
		}
		return &Error{Pool: p.plan.Pool, Err: err}
	}
	return nil
}

func sleepUntil(ctx context.Context, at time.Time) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	d := time.Until(at)
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
