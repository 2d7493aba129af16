package admission

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/penstock/penstock/scripts"
)

// After a script call that failed, the next one comes after a backoff between these, with jitter.
const minBackoff, maxBackoff = 20 * time.Millisecond, time.Second

// applyError does what a script call without a reply asks for: what it carried is due again. If Redis rejects the call,
// it will reject it again, so the waiters of the batch get the error. Otherwise they wait on.
func (c *Controller) applyError(now time.Time, x *exchange, err error) {
	defer x.batch.callEnded()
	c.permits.unused(now)
	if errors.Is(err, scripts.ErrLate) {
		c.clock.Forget() // a wrong deadline would make each call late
	}
	outcome := scripts.OutcomeOf(err)
	limitsRule := c.limitsRule(now, &x.delivery, err)
	if outcome == scripts.Rejected {
		x.delivery.reject(&Refusal{Err: err, Limit: NoLimit})
	}
	c.outbox.requeue(x.delivery, x.call.Seq, outcome, now)
	c.waitTotals.failed(now)
	if errors.Is(err, scripts.ErrLost) {
		c.restore(now, errors.Is(err, scripts.ErrLostAll))
		return // without a backoff: this Redis works
	}
	if limitsRule {
		return // likewise
	}
	if c.failures == 0 {
		c.failingSince = x.sent
	}
	switch outcome {
	case scripts.Unknown:
		c.permits.unknown(len(x.batch.waiters))
	case scripts.Rejected:
		for _, w := range x.batch.waiters {
			if w.fifo != nil {
				c.queue.refuse(w, &Refusal{Err: err, Limit: NoLimit})
			}
		}
	case scripts.NotRun: // as if it had never been sent
	}
	backoff := min(minBackoff<<min(c.failures, 10), maxBackoff)
	c.failures++
	c.failure = err
	c.retryAt = now.Add(backoff/2 + rand.N(backoff))
}

// restore puts this process's part of what Redis has lost into the outbox.
func (c *Controller) restore(now time.Time, all bool) {
	reports := c.recovery.restore(all, now)
	c.outbox.add(now, reports...)
	c.waitFor = forCall
	c.lost = &StateLoss{All: all || c.lost != nil && c.lost.All, Restored: len(reports)}
}

// redisFailing returns for how long script calls have failed.
func (c *Controller) redisFailing(now time.Time) time.Duration {
	d := c.failingFor
	if c.failures > 0 {
		d += now.Sub(c.failingSince)
	}
	return d
}

// leftBehind returns an error for permits that Redis still counts after Close.
func (c *Controller) leftBehind() error {
	switch {
	case c.permits.inFlight > 0:
		return fmt.Errorf("closed with %d calls in flight, whose permits stay taken for %v: allow Close more time",
			c.permits.inFlight, c.cfg.SessionTTL)
	case c.permits.reportedHeld > 0:
		err := fmt.Errorf("closed before Redis confirmed the end of the last calls: up to %d permits stay taken for %v",
			c.permits.reportedHeld, c.cfg.SessionTTL)
		if c.failure != nil {
			err = fmt.Errorf("%w: %w", err, c.failure)
		}
		return err
	}
	return nil
}
