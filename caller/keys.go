package caller

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock/penstock/scripts"
)

// operatorFor is how long what an operator disabled stays so, if nobody enables it.
const operatorFor = 10 * 365 * day

// SetKeys puts keys in the place of those that there are, while calls go on: keys that are gone get no new calls, new
// ones do from now on, and those that stay keep their state and get their new secret and weight. It changes this
// process alone; the other processes of the pool need the same. An error leaves everything as it was.
func (c *Pool) SetKeys(keys []Key) error {
	accounts, err := accountsOf(keys)
	if err != nil {
		return fmt.Errorf("caller: the keys of pool %q: %w", c.plan.Name, err)
	}
	c.pool.setAccounts(accounts)
	return nil
}

// setAccounts lays the pool out anew. Accounts that stay keep count of their calls, and those that go are kept, without
// keys, until their calls are over.
func (p *pool) setAccounts(accounts []*account) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, old := range p.accounts {
		kept := false
		for i, a := range accounts {
			if a.id == old.id {
				old.keys = a.keys
				accounts[i], kept = old, true
			}
		}
		if !kept && old.held > 0 {
			old.keys = nil
			accounts = append(accounts, old)
		}
	}
	p.accounts = accounts
	p.layout = p.plan.layOut(p.accounts, p.families.list, time.Now())
	p.askAt = time.Time{}
	p.wake()
}

// WatchKeys loads the keys again and again, every so often, and calls SetKeys with them, until ctx ends. What load
// returns is used as long as it is a usable set of keys; its errors and those of SetKeys go to Hooks.KeysFailed, and
// the keys stay as they were. WatchKeys returns the cause of ctx's end, or an error for an interval that isn't positive.
func (c *Pool) WatchKeys(ctx context.Context, every time.Duration, load func(context.Context) ([]Key, error)) error {
	if every <= 0 {
		return fmt.Errorf("caller: keys can't be loaded every %v: use more than 0", every)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		keys, err := load(ctx)
		if err == nil {
			err = c.SetKeys(keys)
		}
		if err != nil && ctx.Err() == nil && c.plan.Hooks.KeysFailed != nil {
			c.plan.Hooks.KeysFailed(err)
		}
	}
}

// Disable takes a key out of use in the whole fleet until Enable. It returns when Redis knows; calls that have been
// admitted go on. The reason is for whoever asks Inspect, or gets ErrNoKeys.
func (c *Pool) Disable(ctx context.Context, key, reason string) error {
	off := scripts.PoolReport{Kind: scripts.DisableBlock, Block: scripts.KeyBlock(key), Reason: reason}
	return c.instruct(ctx, key, item{PoolReport: off, until: time.Now().Add(operatorFor)})
}

// Enable lets a key be used again that was disabled, by an operator or because the provider refused it. It returns when
// Redis knows. A cooldown that goes on isn't ended.
func (c *Pool) Enable(ctx context.Context, key string) error {
	return c.instruct(ctx, key, item{PoolReport: scripts.PoolReport{Kind: scripts.ClearBlock, Block: scripts.KeyBlock(key)}})
}

// EnableAccount lets an account be used again that was disabled because it couldn't pay. It returns when Redis knows.
func (c *Pool) EnableAccount(ctx context.Context, account string) error {
	block := scripts.AccountBlock(account, "")
	return c.instruct(ctx, account, item{PoolReport: scripts.PoolReport{Kind: scripts.ClearBlock, Block: block}})
}

// instruct tells Redis something and waits until it has heard.
func (c *Pool) instruct(ctx context.Context, what string, i item) error {
	i.heard = make(chan struct{})
	c.pool.tell(i)
	select {
	case <-i.heard:
		return nil
	case <-c.pool.ended:
		return &Error{Pool: c.plan.Name, Key: what, Err: ErrClosed}
	case <-ctx.Done():
		return &Error{Pool: c.plan.Name, Key: what, Err: context.Cause(ctx)}
	}
}
