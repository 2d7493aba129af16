package scripts

import (
	"cmp"
	"math"
	"slices"
)

// room returns how many permits of a target the session may take now.
func (c *modelCall) room(l *modelTarget) int {
	if c.cfg.Concurrency == 0 {
		return math.MaxInt
	}
	return min(c.permits[l.account]-c.taken[l.account], max(c.fair-c.holding, c.free-c.setAside))
}

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

func (c *modelCall) rank(l *modelTarget, prefer int, ahead float64) float64 {
	switch {
	case l.index == prefer && l.sendAt <= c.now+ahead:
		return math.Inf(-1)
	case l.sendAt > c.now:
		return l.sendAt
	case c.cfg.Strategy == FirstAvailable:
		return float64(l.index) - 1e9
	case c.cfg.Strategy == RoundRobin:
		return max(l.pass, c.round) - 1e12
	}
	return -float64(min(c.now-l.sendAt, 3600) * float64(l.weight))
}

func (c *modelCall) chooseTarget(some []*modelTarget, prefer int, ahead float64) (chosen *modelTarget, noPermit bool) {
	best := 0.0
	for _, l := range some {
		switch {
		case !l.open() || l.reserved:
		case c.room(l) < 1:
			noPermit = true
		default:
			r := c.rank(l, prefer, ahead)
			if chosen == nil || r < best || r == best && l.pass < chosen.pass {
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

func (c *modelCall) demand(d PoolDemand) (over, why int) {
	all := c.group(d.ModelGroup)
	global := d.ModelGroup * len(all)
	some := slices.DeleteFunc(slices.Clone(all), func(l *modelTarget) bool { return slices.Contains(d.Exclude, global+l.index) })
	for i := range c.cfg.ModelGroups[d.ModelGroup].Limits {
		for _, l := range some {
			if l.open() {
				c.grow(l.counters[i], d.Cost[l.counters[i].Metric])
			}
		}
	}
	targets := open(some)
	portion := (d.Count + max(1, targets) - 1) / max(1, targets)
	reach := d.Ahead.Seconds()
	bound := max(c.horizon, float64(4*reach))
	for n := d.Count; n > 0; {
		for _, l := range some {
			c.evaluate(l, d.Cost)
		}
		mine := c.shares == 1 || c.turn <= c.now+bound
		ahead := reach
		if !mine {
			ahead = min(reach, c.horizon/8)
		}
		l, noPermit := c.chooseTarget(some, d.Prefer-global, ahead)
		switch {
		case l == nil && noPermit:
			c.poll = true
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
		c.charge(l, d, calls, targets, bound)
		n -= calls
	}
	return 0, ConstraintNone
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

func (c *modelCall) charge(l *modelTarget, d PoolDemand, n, open int, bound float64) {
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
		turn := c.turn + float64(float64(takes*float64(c.shares))/float64(open))
		c.turn = max(c.turn, min(turn, c.now+float64(2*bound)))
	}
	if p := l.account; c.cfg.Concurrency > 0 {
		c.held[p] += n
		c.taken[p] += n
		c.holding, c.free = c.holding+n, c.free-n
	}
	c.round = max(l.pass, c.round)
	l.pass = c.round + float64(float64(n)/float64(l.weight))
	key, trial := c.nextKey(l)
	l.next %= 1000000
	c.poolModel.targets[l.name] = l.modelCursor
	offset := int64(math.Ceil(float64(sendAt-c.now) * 1e6))
	for range n {
		g := PoolGrant{Target: d.ModelGroup*len(c.group(d.ModelGroup)) + l.index, Key: key, SendAt: c.call.Now + offset, Trial: trial}
		c.reply.Grants = append(c.reply.Grants, g)
	}
}
