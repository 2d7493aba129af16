package caller

import (
	"context"
	"fmt"
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
	lease *lease // nil: permits can't be lost

	spare sync.Pool // of waiters that nothing refers to

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
	memory   memory
	closing  bool

	askAt    time.Time // when to ask again for those who wait; zero: at once
	permits  bool      // they wait for permits, not for a time
	came     bool      // one has come since the last question
	pressed  bool      // one has come since then who can't wait for the next
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
	admitted int // calls that the last script call admitted
}

func newPool(rdb redis.UniversalClient, p *plan) *pool {
	ctx, cancel := context.WithCancel(context.Background())
	l := &pool{
		plan: p, rdb: rdb,
		kick:     make(chan struct{}, 1),
		lines:    make(chan struct{}, maxLines),
		ended:    make(chan struct{}),
		cancel:   cancel,
		queue:    queue{aging: p.Tuning.Aging},
		reach:    maxBatch,
		accounts: p.accounts,
		families: families{models: map[string]int{}},
	}
	if p.Concurrency > 0 && !p.Tuning.ContinueOnLeaseLoss {
		l.lease = newLease(p.Tuning.SessionTTL, l.lostLease)
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

// release takes a permit back.
func (p *pool) release(a *account) {
	p.mu.Lock()
	a.held--
	p.inUse--
	first := p.unsaid.IsZero()
	if first {
		p.unsaid = time.Now()
	}
	if p.permits {
		p.askAt = time.Time{}
	}
	wake := p.plan.Concurrency > 0 && (p.permits || first && p.queue.len() == 0) || p.closing
	p.mu.Unlock()
	if wake {
		p.wake()
	}
}

// lostLease is told that the session has ended under the calls in flight.
func (p *pool) lostLease() {
	p.mu.Lock()
	calls := p.inUse
	p.mu.Unlock()
	if hook := p.plan.Hooks.LeaseLost; hook != nil && calls > 0 {
		hook(calls)
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
		its := &p.plan.Limits[g.lane.limits[i]]
		units := difference[its.Metric]
		if units < 0 && !its.counted(g.slot) {
			continue // the provider no longer counts the charge
		}
		if units != 0 {
			p.news.settle(name, units)
			p.memory.settled(name, units)
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
		p.queue.refuse(w, &Error{Pool: p.plan.Name, Err: ErrClosed})
	}
	p.mu.Unlock()
	p.wake()
	select {
	case <-p.ended:
	case <-ctx.Done():
	}
	p.cancel()
	<-p.ended
	if p.lease != nil {
		p.lease.close()
	}
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
		return &Error{Pool: p.plan.Name, Err: fmt.Errorf(
			"closed with %d calls in flight, whose permits stay taken for %v: allow Close more time", p.inUse, p.plan.Tuning.SessionTTL)}
	case p.toldUse > 0:
		err := fmt.Errorf("closed before Redis heard of the last calls' end: up to %d permits stay taken for %v", p.toldUse, p.plan.Tuning.SessionTTL)
		if p.failure != nil {
			err = fmt.Errorf("%w: %w", err, p.failure)
		}
		return &Error{Pool: p.plan.Name, Err: err}
	}
	return nil
}
