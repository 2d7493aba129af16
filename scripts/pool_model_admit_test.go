package scripts

import (
	"cmp"
	"math"
	"slices"
)

func (c *modelCall) evaluate(l *modelTarget, cost []int64) {
	l.bookableAt, l.sendAt, l.binding = 0, 0, ConstraintNone
	for _, r := range l.counters {
		units := float64(cost[r.Metric])
		if units == 0 {
			continue
		}
		least := 1.0
		if r.End > 0 {
			least = units
		}
		l.bookableAt = r.sendAt(l.bookableAt, least)
		if sendAt := r.sendAt(0, units); sendAt > l.sendAt {
			l.sendAt, l.binding = sendAt, r.index
		}
	}
}

// readyCalls returns how many calls of a cost a target can serve now.
func (c *modelCall) readyCalls(l *modelTarget, cost []int64) int {
	n := math.Inf(1)
	for _, r := range l.counters {
		if cost[r.Metric] > 0 {
			n = min(n, r.room(float64(cost[r.Metric])))
		}
	}
	return int(min(n, 1e9))
}

func (c *modelCall) rank(l *modelTarget) float64 {
	switch {
	case l.sendAt > c.now:
		return l.sendAt
	case c.cfg.Strategy == FirstAvailable:
		return float64(l.index) - 1e9
	case c.cfg.Strategy == RoundRobin:
		return l.pass - 1e12
	}
	return -float64(min(c.now-l.sendAt, 3600) * float64(l.weight))
}

func (c *modelCall) chooseTarget(some []*modelTarget, prefer int, ahead float64, atOnce bool) (chosen *modelTarget, noPermit bool) {
	best := 0.0
	for _, l := range some {
		switch {
		case !l.open() || l.reserved:
		case c.room(l) < 1:
			noPermit = true
		case l.at == prefer && l.sendAt <= c.now+ahead:
			return l, noPermit
		case !atOnce || l.sendAt <= c.now:
			r := c.rank(l)
			if chosen == nil || r < best || r == best && l.used < chosen.used {
				chosen, best = l, r
			}
		}
	}
	return chosen, noPermit
}

func (c *modelCall) askAgain(at float64) { c.wake = min(c.wake, max(0, at-c.now)) }

func open(some []*modelTarget) int {
	n := 0
	for _, l := range some {
		if l.open() {
			n++
		}
	}
	return n
}

// demand looks at the candidates first, and then at all targets.
func (c *modelCall) demand(d *PoolDemand) (over, why int) {
	all := c.group(d.ModelGroup)
	list, _ := c.call.candidates(d, nil)
	var some []*modelTarget
	for _, number := range list {
		some = append(some, all[number-1])
	}
	n, excluded := d.Count, 0
	for _, l := range all {
		if slices.Contains(d.Exclude, l.at) {
			excluded++
		}
	}
	if len(some)+excluded < len(all) {
		if n, _ = c.admitOn(some, all, d, n, true); n == 0 {
			return 0, ConstraintNone
		}
	}
	first := 0
	if len(some) > 0 && c.cfg.Strategy != FirstAvailable {
		first = some[0].index
	}
	some = nil
	for i := range all {
		l := all[(first+i)%len(all)]
		if !slices.Contains(d.Exclude, l.at) {
			some = append(some, l)
		}
	}
	return c.admitOn(some, all, d, n, false)
}

func (c *modelCall) admitOn(some, all []*modelTarget, d *PoolDemand, n int, atOnce bool) (over, why int) {
	for _, l := range some {
		c.openKeys(l)
		c.prepare(l.account)
	}
	for _, l := range some {
		for _, r := range l.counters {
			if l.open() {
				c.grow(r, d.Cost[r.Metric])
			}
		}
	}
	for _, l := range some {
		c.evaluate(l, d.Cost)
	}
	if !atOnce {
		c.noteIdle(some)
	}
	targets := open(some)
	portion := (n + max(1, targets) - 1) / max(1, targets)
	reach := d.Ahead.Seconds()
	bound := max(c.horizon, float64(4*reach))
	for n > 0 {
		for _, l := range some {
			c.evaluate(l, d.Cost)
		}
		mine := c.shares == 1 || c.turn <= c.now+bound
		ahead := reach
		if !mine {
			ahead = min(reach, c.horizon/8)
		}
		l, noPermit := c.chooseTarget(some, d.Prefer, ahead, atOnce)
		switch {
		case l == nil && atOnce:
			return n, ConstraintNone
		case l == nil && noPermit:
			c.poll = true
			if c.hold > c.now {
				c.askAgain(c.hold)
			}
			return n, ConstraintPermits
		case l == nil && open(some) > 0:
			return n, ConstraintNone
		case l == nil:
			return n, c.allClosed(some, all)
		case l.bookableAt > c.now+ahead:
			l.reserved = c.cfg.Limits[l.binding].End == 0
			c.poll = c.poll || noPermit
			at := l.bookableAt - ahead
			if !mine {
				at = min(at, max(c.turn-bound, l.bookableAt-reach))
			}
			c.askAgain(at)
			return n, l.binding
		}
		calls := 1
		if portion > 1 && len(l.trials) == 0 {
			calls = max(1, min(n, portion, c.room(l), c.readyCalls(l, d.Cost)))
		}
		c.charge(l, d, calls, len(all), bound)
		n -= calls
	}
	return 0, ConstraintNone
}

// noteIdle notes which accounts can't be used.
func (c *modelCall) noteIdle(some []*modelTarget) {
	for _, l := range some {
		switch {
		case l.perKey:
		case !l.open():
			c.markIdle(l.account, l.back)
		case l.sendAt-c.now > 2*c.horizon:
			c.markIdle(l.account, l.sendAt)
		default:
			c.markIdle(l.account, 0)
		}
	}
}

func (c *modelCall) allClosed(some, all []*modelTarget) (why int) {
	back, off := math.Inf(1), true
	for _, l := range some {
		back, off = min(back, l.back), off && l.off
	}
	c.askAgain(back)
	if !off {
		return ConstraintCooldown
	}
	reason := ""
	for _, l := range all {
		c.openKeys(l)
		if !l.off {
			return ConstraintExcluded
		}
		if l.reason != "" {
			reason = l.reason
		}
	}
	c.reply.Reason = cmp.Or(c.reply.Reason, reason)
	return ConstraintDisabled
}

func (c *modelCall) charge(l *modelTarget, d *PoolDemand, n, size int, bound float64) {
	sendAt, takes := max(c.now, l.sendAt), 0.0
	c.delayed = ConstraintNone
	if l.sendAt > c.now {
		c.delayed = l.binding
	}
	for _, r := range l.counters {
		if units := float64(d.Cost[r.Metric]); units > 0 {
			r.charge(sendAt, float64(units*float64(n)))
			takes = max(takes, float64(r.Interval*units)*float64(n))
		}
	}
	if c.shares > 1 {
		turn := c.turn + float64(float64(takes*float64(c.shares))/float64(size))
		c.turn = max(c.turn, min(turn, c.now+float64(2*bound)))
	}
	if c.limited() {
		if c.idle[l.account.id] > c.now {
			c.markIdle(l.account, 0)
		}
		l.account.held += n
		c.holding, c.free = c.holding+n, c.free-n
	}
	l.used += float64(float64(n) / float64(l.weight))
	if c.cfg.Strategy == RoundRobin {
		c.poolModel.round = max(l.pass, c.round)
		l.pass = c.round + float64(float64(n)/float64(l.weight))
	}
	key, trial := c.nextKey(l)
	l.next %= 1000000
	if c.cfg.Strategy == RoundRobin || len(l.keyNames) > 1 {
		c.rounds[l.name] = l.modelCursor
	}
	offset := int64(math.Ceil(float64(sendAt-c.now) * 1e6))
	for range n {
		g := PoolGrant{Target: l.at, Key: key, SendAt: c.call.Now + offset, Trial: trial}
		c.reply.Grants = append(c.reply.Grants, g)
	}
}
