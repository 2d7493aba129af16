package caller

import (
	"math/rand/v2"
	"time"

	"github.com/penstock/penstock/scripts"
)

const (
	// throttledFor is the cooldown where the provider doesn't say for how long.
	throttledFor = time.Second
	// disabledFor is how long a disabled key or account stays so before one call tries it again.
	disabledFor = time.Hour
	// A limit that was exceeded although it was kept is used by somebody else, too. It is used at throttledPace of its
	// pace, which comes back evenly within recovery periods, to settle at what is left.
	throttledPace, recovery = 0.75, 10
	// A provider that asks to slow down gets half the pace, for that long in falling measure.
	slowPace, slowFor = 0.5, time.Minute
)

// learn tells the fleet what a verdict means for the key and its account.
func (c *Pool) learn(g *Grant, v Verdict) {
	switch v.Outcome {
	case Throttled:
		if v.Scope != ScopeProvider {
			c.coolDown(g, v)
		}
	case KeyRejected, OutOfCredit:
		c.disable(g, v)
		return
	case Overloaded:
		if v.Scope == ScopeAccount {
			c.pool.tell(c.slower(g, slowPace, func(time.Duration) time.Duration { return slowFor })...)
		}
		return
	case Success, ClientError:
	case Transient, Canceled:
		return // that says nothing about the key
	}
	if g.trial {
		c.pool.tell(
			item{PoolReport: scripts.PoolReport{Kind: scripts.ClearBlock, Block: scripts.KeyBlock(g.Key)}},
			item{PoolReport: scripts.PoolReport{Kind: scripts.ClearBlock, Block: scripts.AccountBlock(g.Account, "")}},
		)
	}
}

// coolDown keeps a throttled key, or its account, out of use for a while. Where limits tell models apart, it is the
// account for this family of models.
func (c *Pool) coolDown(g *Grant, v Verdict) {
	d := v.RetryAfter
	if d <= 0 {
		d = throttledFor
	}
	d += rand.N(d/10 + time.Millisecond) // the fleet doesn't come back in one moment
	block := Block{Account: g.Account, For: d, Reason: v.Reason}
	name := scripts.AccountBlock(g.Account, g.lane.family)
	if v.Scope == ScopeKey {
		block.Key = g.Key
		name = scripts.KeyBlock(g.Key)
	}
	cool := scripts.PoolReport{Kind: scripts.CoolBlock, Block: name, Reason: v.Reason}
	pace := c.slower(g, throttledPace, func(per time.Duration) time.Duration { return recovery * per })
	c.pool.tell(append(pace, item{PoolReport: cool, until: time.Now().Add(d)})...)
	if hook := c.plan.Hooks.CooledDown; hook != nil {
		hook(block)
	}
}

// disable keeps a key, or its account, out of use until a call that tries it succeeds.
func (c *Pool) disable(g *Grant, v Verdict) {
	d := max(v.RetryAfter, disabledFor)
	block := Block{Account: g.Account, For: d, Reason: v.Reason}
	name := scripts.AccountBlock(g.Account, "")
	if v.Scope == ScopeKey {
		block.Key = g.Key
		name = scripts.KeyBlock(g.Key)
	}
	off := scripts.PoolReport{Kind: scripts.DisableBlock, Block: name, Reason: v.Reason}
	c.pool.tell(item{PoolReport: off, until: time.Now().Add(d)})
	if hook := c.plan.Hooks.Disabled; hook != nil {
		hook(block)
	}
}

// slower reports that the limits of a grant's account are to be used at a share of their pace.
func (c *Pool) slower(g *Grant, pace float64, until func(per time.Duration) time.Duration) []item {
	var items []item
	for i, name := range g.lane.counters {
		l := c.plan.Limits[g.lane.limits[i]]
		if l.Scope == PerPool {
			continue // other accounts use it, too
		}
		items = append(items, item{counter: name, PoolReport: scripts.PoolReport{
			Kind: scripts.SlowCounter, Factor: pace, For: until(l.Period), Quiet: max(l.Period/4, time.Second),
		}})
	}
	return items
}
