package scripts

import (
	"math"
	"slices"
)

// modelTarget is a target during one call.
type modelTarget struct {
	modelCursor
	name               string
	account            *modelAccount
	perKey             bool
	opened             bool
	blocks             []string
	counters           []*modelCounter
	keyNames           []string
	weight             int
	index              int // in the group, of those that have keys
	at                 int // as a grant says
	keys, trials       []int
	trial              bool // the target itself is
	used               float64
	reserved           bool
	off                bool
	back               float64
	reason             string
	bookableAt, sendAt float64
	binding            int
}

func (l *modelTarget) open() bool { return len(l.keys)+len(l.trials) > 0 }

// group returns the targets of a group, which are read when they are first needed.
func (c *modelCall) group(index int) []*modelTarget {
	if targets, ok := c.targets[index]; ok {
		return targets
	}
	byKey := slices.ContainsFunc(c.cfg.Limits, func(l PoolLimit) bool { return l.Scope == PerKey })
	at := index * len(c.call.Config.targets)
	for i, a := range c.cfg.Accounts {
		switch {
		case !byKey:
			c.openTarget(index, i, at, "", a.Keys)
			at++
		default:
			for _, k := range a.Keys {
				c.openTarget(index, i, at, k.ID, []PoolKeyWeight{k})
				at++
			}
		}
	}
	return c.targets[index]
}

func (c *modelCall) openTarget(group, account, at int, key string, keys []PoolKeyWeight) {
	f, a := c.cfg.ModelGroups[group], c.cfg.Accounts[account].ID
	if len(keys) == 0 || f.Accounts != nil && !f.Accounts[account] {
		return
	}
	l := &modelTarget{name: TargetName(a, f.Name, key), account: c.accounts[account], perKey: key != "", at: at, weight: 1, back: math.Inf(1), off: true}
	l.index, l.modelCursor = len(c.targets[group]), c.rounds[l.name]
	l.blocks = slices.Compact([]string{AccountBlock(a, ""), AccountBlock(a, f.Name)})
	for _, k := range keys {
		l.keyNames, l.weight = append(l.keyNames, k.ID), max(l.weight, k.Weight)
	}
	if weight := c.cfg.Accounts[account].Weight; key == "" && weight > 0 {
		l.weight = weight
	}
	for _, i := range modelLimits(c.cfg, group, a) {
		l.counters = append(l.counters, c.counter(i, map[LimitScope]string{PerAccount: a, PerKey: key}[c.cfg.Limits[i].Scope]))
	}
	c.targets[group] = append(c.targets[group], l)
}

// modelLimits returns the limits that an account has in a group: its own in place of those of all accounts.
func modelLimits(cfg *PoolConfig, group int, account string) []int {
	key := func(i int) string { return string(cfg.Limits[i].Scope) + cfg.Limits[i].Name }
	own := map[string]int{}
	for _, i := range cfg.ModelGroups[group].Limits {
		if cfg.Limits[i].Account == account {
			own[key(i)] = i
		}
	}
	var limits []int
	for _, i := range cfg.ModelGroups[group].Limits {
		if its, ok := own[key(i)]; ok {
			i = its
		}
		if a := cfg.Limits[i].Account; (a == account || a == "") && !slices.Contains(limits, i) {
			limits = append(limits, i)
		}
	}
	return limits
}

// openKeys works out which keys can be used, when the target is first looked at.
func (c *modelCall) openKeys(l *modelTarget) {
	if l.opened {
		return
	}
	l.opened = true
	var whole modelBlock
	for _, name := range l.blocks {
		b, trial := c.block(name)
		whole.until = max(whole.until, b.until)
		l.trial = l.trial || trial
		if b.off && !trial {
			whole.off, whole.reason = true, b.reason
		}
	}
	for k, name := range l.keyNames {
		b, trial := c.block(KeyBlock(name))
		off := b.off && !trial
		if off || whole.off {
			l.reason = whole.reason
			if off {
				l.reason = b.reason
			}
		} else {
			l.off = false
		}
		until := max(whole.until, b.until)
		switch {
		case until > c.now:
		case trial || l.trial:
			l.trials = append(l.trials, k)
		default:
			l.keys = append(l.keys, k)
		}
		l.back = min(l.back, until)
	}
}

// nextKey returns the target's next key.
func (c *modelCall) nextKey(l *modelTarget) (key int, trial bool) {
	if len(l.trials) == 0 {
		l.next++
		return l.keys[(l.next-1)%len(l.keys)], false
	}
	key = l.trials[len(l.trials)-1]
	names := []string{KeyBlock(l.keyNames[key])}
	if l.trial {
		names = append(names, l.blocks...)
	}
	for _, name := range slices.Compact(names) {
		if b, trial := c.block(name); trial {
			c.blocks[name] = modelBlock{c.now + 60, true, b.reason}
		}
	}
	for _, targets := range c.targets {
		for _, other := range targets {
			if other.opened {
				other.opened, other.trial, other.keys, other.trials, other.off, other.back = false, false, nil, nil, true, math.Inf(1)
				c.openKeys(other)
			}
		}
	}
	return key, true
}
