package admission

import (
	"context"
	"runtime"
	"time"
)

// maxYields bounds the yields before a script call.
const maxYields = 16

// run is the loop that talks to Redis. It ends with ctx, or when the controller is drained.
func (c *Controller) run(ctx context.Context) {
	defer close(c.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		switch s, until := c.next(time.Now()); s {
		case stopped:
			return
		case lingering:
			c.linger()
			x := c.compose(time.Now())
			reply, err := c.exchange(ctx, x)
			c.apply(ctx, x, reply, err)
		case idle:
			timer.Stop()
			c.pause(ctx, nil)
		default:
			timer.Reset(time.Until(until))
			c.pause(ctx, timer.C)
		}
	}
}

// pause waits for a wakeup, the timer, or the end of ctx.
func (c *Controller) pause(ctx context.Context, timer <-chan time.Time) {
	select {
	case <-c.wakeup:
	case <-timer:
	case <-ctx.Done():
	}
}

// linger yields so that goroutines woken by the last reply can join the next batch. It returns when the queue is as long
// as the last batch, when a yield adds no waiter, or after 16 yields. After a batch of one it doesn't yield, so that a
// lone caller loses no time.
func (c *Controller) linger() {
	n, lastBatchSize := c.waiting()
	for yields := 0; yields < maxYields && n < lastBatchSize; yields++ {
		runtime.Gosched()
		now, _ := c.waiting()
		if now == n {
			return
		}
		n = now
	}
}

// signal ends the loop's sleep.
func (c *Controller) signal() {
	select {
	case c.wakeup <- struct{}{}:
	default:
	}
}

// sleeping reports whether the loop sleeps, so that a new reason must end its sleep. Before it sleeps it looks for
// reasons in any case.
func (c *Controller) sleeping() bool { return c.state == idle || c.state == scheduled }

// agenda returns what the reasons to call Redis are derived from.
func (c *Controller) agenda() agenda {
	a := agenda{
		waiting: c.queue.len(), waitFor: c.waitFor, nextAsk: c.nextAsk,
		urgent: c.outbox.urgent, pending: !c.outbox.empty(), pendingSince: c.outbox.since,
		permits: c.permits, ttl: c.cfg.SessionTTL,
		draining: c.draining, closeAttempts: c.failures, retryAt: c.retryAt,
	}
	if time.Now().Before(c.giveUpAt) {
		a.closeAttempts = 0
	}
	if c.cfg.Adaptive == nil {
		return a
	}
	for _, its := range c.topology.accounts {
		if at, ok := its.samples.due(c.cfg.Adaptive.Every); ok && (a.samplesDue.IsZero() || at.Before(a.samplesDue)) {
			a.samplesDue = at
		}
	}
	return a
}
