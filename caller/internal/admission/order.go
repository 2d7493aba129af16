package admission

import (
	"context"
	"time"

	"github.com/penstock/penstock/scripts"
)

// leastOrder is the least time for which only an operator disables a key or account.
const leastOrder = 365 * 24 * time.Hour

// LearnOrders reads which keys and accounts an operator has disabled, in any process, so that this process can restore that
// if Redis loses it. It does nothing while this process makes no script calls.
//
// An order that is known and no longer in Redis has been taken back, unless Redis has lost writes that this process has seen.
// So a process that has made calls since an Enable doesn't undo it. One that hasn't errs on the safe side: it restores the
// block.
func (c *Controller) LearnOrders(ctx context.Context) error {
	c.mu.Lock()
	if c.learnedAt == c.scriptCalls {
		c.mu.Unlock()
		return nil
	}
	c.learnedAt = c.scriptCalls
	names, seen, known := c.topology.orderNames(), c.recovery.version, c.recovery.orders(time.Now())
	c.mu.Unlock()
	b, err := c.exchanger.Blocks(ctx, names)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recovery.learn(b, seen, known, time.Now())
	return nil
}

// orderNames returns the names of the blocks by which an operator disables a key or an account.
func (t *topology) orderNames() []string {
	var names []string
	for _, a := range t.accounts {
		names = append(names, scripts.AccountBlock(a.ID, ""))
		for _, k := range a.Keys {
			names = append(names, scripts.KeyBlock(WithoutFingerprint(k.ID)))
		}
	}
	return names
}

// orders returns the operators' orders that are known, with their ends.
func (r *recovery) orders(now time.Time) map[string]time.Time {
	known := map[string]time.Time{}
	for name, its := range r.blocks {
		if its.Kind == scripts.DisableBlock && its.until.Sub(now) > leastOrder {
			known[name] = its.until
		}
	}
	return known
}

// learn records the orders among blocks, and drops those of known that were taken back. seen and known are as of the time
// when the blocks were asked for.
func (r *recovery) learn(b *scripts.PoolBlocks, seen scripts.StateVersion, known map[string]time.Time, now time.Time) {
	for name, its := range b.Blocks {
		if _, ok := known[name]; ok || !its.Off || its.Until <= leastOrder {
			continue
		}
		r.recordReports([]report{{
			PoolReport: scripts.PoolReport{Kind: scripts.DisableBlock, Block: name, Reason: its.Reason}, until: now.Add(its.Until),
		}})
	}
	if seen.Origin == 0 || b.Origin != seen.Origin || b.Generation != seen.Generation || b.Seq < seen.Seq {
		return // some of the state is lost
	}
	for name, until := range known {
		if its, ok := b.Blocks[name]; (!ok || !its.Off) && r.blocks[name].until.Equal(until) {
			delete(r.blocks, name)
		}
	}
}
