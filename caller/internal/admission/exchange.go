package admission

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/scripts"
)

const (
	// callTimeout is the time after which a script call that hasn't reached Redis has no effect.
	callTimeout = time.Second
	// maxScriptCalls bounds the script calls that the Redis client still runs, abandoned ones included.
	maxScriptCalls = 4
	// maxBatch bounds the waiters that one script call asks for, and so the time for which it occupies Redis.
	maxBatch = 1024
	// minBatch is the least bound on these waiters.
	minBatch = 64
)

var errNoReply = fmt.Errorf("no answer from Redis within %v", 2*callTimeout)

// exchanger is what a controller needs of Redis. Tests have a fake, so that the loop runs in a synctest bubble.
type exchanger interface {
	Admit(ctx context.Context, call *scripts.PoolCall) (*scripts.PoolReply, error)
	Inspect(ctx context.Context) (*scripts.PoolState, error)
	// Blocks reads blocks by their names.
	Blocks(ctx context.Context, names []string) (*scripts.PoolBlocks, error)
	// Listen calls received for each message to the session, until ctx ends.
	Listen(ctx context.Context, received func())
}

// redisExchanger is the exchanger of production.
type redisExchanger struct {
	rdb           redis.UniversalClient
	pool, session string
}

func (e *redisExchanger) Admit(ctx context.Context, call *scripts.PoolCall) (*scripts.PoolReply, error) {
	return scripts.Admit(ctx, e.rdb, e.pool, call)
}

func (e *redisExchanger) Inspect(ctx context.Context) (*scripts.PoolState, error) {
	return scripts.InspectPool(ctx, e.rdb, e.pool)
}

func (e *redisExchanger) Blocks(ctx context.Context, names []string) (*scripts.PoolBlocks, error) {
	return scripts.ReadPoolBlocks(ctx, e.rdb, e.pool, e.session, names)
}

// exchange is one script call, and what its reply is for.
type exchange struct {
	call     *scripts.PoolCall
	sent     time.Time
	topology *topology
	batch    batch
	delivery delivery
	held     int // permits that it reports
}

// newExchange composes the next script call.
func (c *Controller) newExchange(now time.Time) *exchange {
	if !c.topology.ends.IsZero() && !c.topology.ends.After(now) {
		c.setTopology(newTopology(&c.cfg, c.topology.accounts, c.groups.list, now))
	}
	t := c.topology
	c.seq++
	x := &exchange{topology: t, batch: c.queue.head(c.batchLimit, t, c.cfg.Horizon, now), delivery: c.outbox.drain(c.seq, now)}
	holds := c.permits.limited && c.permits.inFlight > 0
	reports := c.followLimits(&x.delivery)
	if r, ok := c.ramp.report(now); ok {
		reports = append(reports, r)
	}
	x.call = &scripts.PoolCall{
		Config: t.config, Seq: c.seq, Demands: x.batch.demands, Expected: c.recovery.expectedVersion(now, holds),
		Reports: append(reports, x.delivery.encode(t, now, c.cfg.SessionTTL)...),
	}
	x.call.Reports = append(x.call.Reports, c.drainSamples(now)...)
	if deadline, ok := c.clock.Server(now.Add(callTimeout)); ok {
		x.call.Deadline = deadline
	}
	x.call.Held, x.held = c.permits.reporting(t.accounts)
	c.arrivedMeanwhile, c.askAgain = false, false
	return x
}

// drainSamples returns the samples of all accounts that are due, as reports.
func (c *Controller) drainSamples(now time.Time) []scripts.PoolReport {
	if c.cfg.Adaptive == nil {
		return nil
	}
	var reports []scripts.PoolReport
	for i, a := range c.topology.accounts {
		if r, ok := a.samples.drain(now, c.cfg.Adaptive.Every, i, a.held); ok {
			reports = append(reports, r)
		}
	}
	return reports
}

// exchange makes a script call, and waits for its reply no longer than callTimeout allows. go-redis obeys a context only
// until the command is sent. So a call that is abandoned goes on until the client's own timeouts, or its Close. If it
// reaches Redis after a newer call, it has no effect.
func (c *Controller) exchange(ctx context.Context, x *exchange) (*scripts.PoolReply, error) {
	x.sent = time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, 2*callTimeout, errNoReply)
	defer cancel()
	select {
	case c.scriptCallSlots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	type answer struct {
		reply *scripts.PoolReply
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		reply, err := c.exchanger.Admit(ctx, x.call)
		<-c.scriptCallSlots
		answered <- answer{reply, err}
	}()
	select {
	case a := <-answered:
		return a.reply, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
