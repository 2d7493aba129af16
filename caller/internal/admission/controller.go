package admission

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/scripts"
)

// Controller is this process's part in a pool: the queue of waiters, the permits that it holds, and the one conversation
// with Redis that all its calls share. It is safe for concurrent use.
type Controller struct {
	cfg             Config
	exchanger       exchanger
	clock           scripts.Clock
	scriptCallSlots chan struct{} // one element for each script call that hasn't ended
	waiterPool      sync.Pool     // of waiters that nothing refers to
	slotsMissed     atomic.Int64
	limits          atomic.Pointer[[]Limit] // those that rule, as cfg has them under the lock; indices never change

	wakeup        chan struct{} // ends the loop's sleep; capacity 1
	ended         chan struct{} // closed when the loop has ended
	cancel        context.CancelFunc
	startListener func()        // subscribes to messages, once
	listenerDone  chan struct{} // closed when the subscription has ended; nil: it hasn't begun

	mu         sync.Mutex // guards what follows
	state      state
	queue      queue
	groups     modelGroups
	topology   *topology
	permits    permits
	lease      *lease // nil: permits can't be lost
	outbox     outbox
	recovery   recovery
	ramp       ramp
	ruling     ruling
	blocked    blocked
	waitTotals waitTotals
	draining   bool
	giveUpAt   time.Time // when Close ends although Redis fails

	waitFor          waitFor
	waitsFor         [Priorities]int // constraint of the first waiter of each priority
	nextAsk          time.Time
	arrivedMeanwhile bool // a waiter has joined since the last script call was composed
	askAgain         bool // such a waiter can't wait for nextAsk

	seq           int64         // of the last script call
	batchLimit    int           // waiters that the next script call asks for at most
	lastBatchSize int           // calls that the last script call admitted
	failures      int           // script calls that failed in a row
	failure       error         // of the last of these; nil: the last script call succeeded
	failingSince  time.Time     // when the first of these was sent
	failingFor    time.Duration // in former times of failures
	lost          *StateLoss    // what Redis has lost and not confirmed yet; nil: nothing
	retryAt       time.Time

	scriptCalls, scriptCallsFailed, statesLost int64
	learnedAt                                  int64 // scriptCalls when operators' orders were last read
}

// New returns a Controller that talks to Redis when there is something to ask or report. Close ends it.
func New(rdb redis.UniversalClient, cfg Config) *Controller {
	return newController(&redisExchanger{rdb: rdb, pool: cfg.Pool, session: cfg.Session}, cfg)
}

func newController(ex exchanger, cfg Config) *Controller {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Controller{
		cfg: cfg, exchanger: ex,
		scriptCallSlots: make(chan struct{}, maxScriptCalls),
		wakeup:          make(chan struct{}, 1),
		ended:           make(chan struct{}),
		cancel:          cancel,
		queue:           newQueue(cfg.Aging, cfg.Tenants),
		groups:          newModelGroups(cfg.Limits, cfg.Accounts),
		permits:         permits{limited: cfg.limitsPermits()}, ramp: ramp{over: cfg.RampUp},
		blocked:    blocked{constraint: scripts.ConstraintNone},
		batchLimit: maxBatch,
		waitsFor:   unknownConstraints(),
	}
	c.limits.Store(&cfg.Limits)
	c.startListener = sync.OnceFunc(func() {
		c.listenerDone = make(chan struct{})
		go func() {
			defer close(c.listenerDone)
			c.exchanger.Listen(ctx, c.messageReceived)
		}()
	})
	if c.permits.limited && !cfg.ContinueOnLeaseLoss {
		c.lease = newLease(cfg.SessionTTL, c.leaseTimer)
	}
	c.setAccounts(cfg.Accounts, time.Now())
	go c.run(ctx)
	return c
}

// Acquire waits until the request is admitted and its send time has come, and fills g. Its error is a *Refusal, or why
// ctx ended.
func (c *Controller) Acquire(ctx context.Context, r Request, g *Grant) error {
	return c.acquire(ctx, &r, g)
}

// SetAccounts replaces the accounts, while calls go on. An account that stays keeps its state.
func (c *Controller) SetAccounts(accounts []Account) {
	c.mu.Lock()
	c.setAccounts(accounts, time.Now())
	c.waitFor = forCall
	wake := c.sleeping()
	c.unlock(wake)
}

// Accounts returns the accounts. They mustn't be changed.
func (c *Controller) Accounts() []Account {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cfg.Accounts
}

// Block takes a key or account out of use in all processes. It returns when Redis has confirmed that.
func (c *Controller) Block(ctx context.Context, b Block) error {
	return c.instruct(ctx, b.report("", time.Now()))
}

// Unblock ends what disabled a key or, if the key is empty, an account. It returns when Redis has confirmed
// that. A cooldown goes on.
func (c *Controller) Unblock(ctx context.Context, account, key string) error {
	reports := []report{unblockReport(account, key)}
	c.mu.Lock()
	for _, k := range c.topology.named(key) {
		reports = append(reports, unblockReport("", k.ID))
	}
	c.mu.Unlock()
	return c.instruct(ctx, reports...)
}

// instruct reports to Redis at once and waits until Redis has confirmed or rejected that.
func (c *Controller) instruct(ctx context.Context, reports ...report) error {
	last := &reports[len(reports)-1]
	last.confirmed, last.rejected = make(chan struct{}), make(chan error, 1)
	confirmed, rejected := last.confirmed, last.rejected
	c.mu.Lock()
	c.reportNow(time.Now(), reports...)
	wake := c.sleeping()
	c.unlock(wake)
	select {
	case <-confirmed:
		return nil
	case err := <-rejected:
		return err
	case <-c.ended:
		return &Refusal{Err: ErrClosed, Limit: NoLimit}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// State reads the state of the pool from Redis. It changes nothing.
func (c *Controller) State(ctx context.Context) (*State, error) {
	s, err := c.exchanger.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	t := c.topology
	c.mu.Unlock()
	return t.state(s), nil
}

// Stats returns what this process did so far.
func (c *Controller) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	return Stats{
		Waiting: c.queue.len(), InFlight: c.permits.inFlight, SlotsMissed: c.slotsMissed.Load(),
		BlockedBy: c.blocked.read(now), Waits: c.waits(), Failure: c.failure, Used: c.topology.used(now),
		ScriptCalls: c.scriptCalls, ScriptCallsFailed: c.scriptCallsFailed,
		LimitsVersion: c.ruling.version, StatesLost: c.statesLost, RedisFailing: c.redisFailing(now),
	}
}

// Close refuses new calls and those that wait, waits until ctx ends for the calls in flight, and returns every permit. If
// Redis fails, it tries again until ctx ends; without a deadline, maxCloseAttempts times.
//
// The calls that are still in flight when ctx ends keep what their permits promise: their contexts end with the session.
func (c *Controller) Close(ctx context.Context) error {
	c.mu.Lock()
	c.draining, c.failures = true, 0
	c.giveUpAt, _ = ctx.Deadline()
	for _, w := range c.queue.all() {
		c.queue.refuse(w, &Refusal{Err: ErrClosed, Limit: NoLimit})
	}
	c.mu.Unlock()
	c.signal()
	select {
	case <-c.ended:
	case <-ctx.Done():
	}
	c.cancel()
	<-c.ended
	if c.listenerDone != nil {
		// While Redis is away, a subscription that is being restored ends with the client's timeouts only.
		select {
		case <-c.listenerDone:
		case <-ctx.Done():
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lease != nil && c.permits.inFlight == 0 {
		c.lease.stop()
	}
	return c.leftBehind()
}

// join puts w into the queue.
func (c *Controller) join(w *waiter) error {
	c.mu.Lock()
	ask, err := c.enqueue(w)
	wake := ask && c.sleeping()
	c.unlock(wake)
	return err
}

// leave takes w, whose context has ended, out of the queue. It reports whether w was still in, and returns the error of the
// last script call if that failed.
func (c *Controller) leave(w *waiter) (left bool, failure error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left = w.fifo != nil
	c.queue.remove(w)
	return left, c.failure
}

// release returns the permit of a call that is over.
func (c *Controller) release(a *account) {
	c.mu.Lock()
	c.permits.release(a.tally)
	wake := c.released() && c.sleeping()
	c.unlock(wake)
}

// decline passes a booking on to another waiter, or returns its permit and daily counts.
func (c *Controller) decline(b *booking) {
	c.mu.Lock()
	w := c.passOn(b)
	c.mu.Unlock()
	if w != nil {
		w.wake()
		return
	}
	c.signal() // so that Redis gets it soon, also if no other call follows
}

// settle puts the correction of a call's units into the outbox.
func (c *Controller) settle(b *booking, delta []int64) error {
	for _, i := range b.target.limits {
		if l := &(*c.limits.Load())[i]; delta[l.Metric] > maxDebt*l.Usable || delta[l.Metric] < -b.units[l.Metric] {
			return fmt.Errorf("%w: a correction of %s by %d units of a call that was charged %d: a call costs 0 to %d",
				ErrSettlement, l.Name, delta[l.Metric], b.units[l.Metric], b.units[l.Metric]+maxDebt*l.Usable)
		}
	}
	c.mu.Lock()
	wake := c.outbox.empty() && c.sleeping() // so that Redis gets it soon, also if no other call follows
	c.correct(b, func(l *Limit) int64 { return delta[l.Metric] })
	c.unlock(wake)
	return nil
}

// feedback puts what an attempt taught into the outbox.
func (c *Controller) feedback(g *Grant, f *Feedback) {
	if c.cfg.Adaptive == nil {
		f.Sample, f.Initial = None, 0
	}
	if f.Block == nil && (!f.Works || !g.trial) && !f.Calm && f.Pace == 0 && f.Sample == None && f.Initial == 0 && len(f.Quotas) == 0 {
		return
	}
	if f.Block != nil && f.Block.Model != "" {
		c.mu.Lock()
		if !c.groups.separate(f.Block.Model) {
			f.Block.Model = "" // the account then serves no model of the group
		}
		c.mu.Unlock()
	}
	now := time.Now()
	urgent := f.urgent(*c.limits.Load(), &g.booking, now)
	quotas := f.quotas(*c.limits.Load(), g.target, c.cfg.ArrivalJitter)
	c.mu.Lock()
	wake := c.learn(now, g.target.account, f, urgent, quotas) && c.sleeping()
	c.unlock(wake)
}

// unlock frees the lock, and then ends the loop's sleep if there is a new reason to call Redis.
func (c *Controller) unlock(wake bool) {
	c.mu.Unlock()
	if wake {
		c.signal()
	}
}

// messageReceived is for a message that a permit may be free.
func (c *Controller) messageReceived() {
	c.mu.Lock()
	wake := c.waitFor == forPermit && c.sleeping()
	if c.waitFor == forPermit {
		c.waitFor = forCall
	}
	c.unlock(wake)
}

// next returns the state that the loop goes into, and for scheduled when it ends.
func (c *Controller) next(now time.Time) (s state, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.agenda()
	c.state, until = a.next(now)
	return c.state, until
}

// waiting returns the length of the queue and the number of calls that the last script call admitted.
func (c *Controller) waiting() (waiters, lastBatchSize int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue.len(), c.lastBatchSize
}

// compose makes the next script call.
func (c *Controller) compose(now time.Time) *exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = calling
	return c.newExchange(now)
}

// apply does what a script call's reply or error asks for. Waiters are woken after the lock is free.
func (c *Controller) apply(ctx context.Context, x *exchange, reply *scripts.PoolReply, err error) {
	received := time.Now()
	if err != nil {
		c.mu.Lock()
		c.applyError(received, x, err)
		lost, changed := c.lost, c.changedLimits()
		c.countCall(err)
		c.mu.Unlock()
		if ctx.Err() == nil {
			c.cfg.Observer.limitsChanged(changed)
			c.cfg.Observer.failed(x, received, err, lost)
		}
		return
	}
	c.clock.Observe(x.sent, received, reply.Now)
	c.mu.Lock()
	recovered, restored := c.failures > 0, c.lost
	if recovered {
		c.failingFor += received.Sub(c.failingSince)
	}
	c.lost = nil
	woken := c.applyReply(received, x, reply)
	c.countCall(nil)
	changed := c.changedLimits()
	c.mu.Unlock()
	for _, w := range woken {
		w.wake()
	}
	c.cfg.Observer.limitsChanged(changed)
	c.cfg.Observer.replied(x, received, reply, recovered, restored)
}

// waitsOf returns what w, which isn't in the queue any more, has waited for until now.
func (c *Controller) waitsOf(w *waiter) Waits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waitTotals.of(w.group, time.Now()).since(w.before)
}
