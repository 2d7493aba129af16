package scripts

import "math"

// room returns how many permits of a lane the session may take now.
func (c *modelCall) room(l *modelLane) int {
	if l.Permits < 0 {
		return math.MaxInt
	}
	return min(c.cfg.Permits[l.Permits].Limit-c.taken[l.Permits], max(c.fair-c.holding, c.free-c.setAside))
}

func (c *modelCall) price(l *modelLane, cost []int64) {
	l.opens, l.slot, l.binding = 0, 0, BindingNone
	for _, i := range l.Counters {
		r := c.counters[i]
		units := float64(cost[r.Metric])
		if units == 0 {
			continue
		}
		least := 1.0
		if r.End > 0 {
			least = units
		}
		l.opens = r.slot(l.opens, least)
		if slot := r.slot(0, units); slot > l.slot {
			l.slot, l.binding = slot, i
		}
	}
}

// atOnce returns how many calls of a cost a lane can serve now.
func (c *modelCall) atOnce(l *modelLane, cost []int64) int {
	n := math.Inf(1)
	for _, i := range l.Counters {
		if r := c.counters[i]; cost[r.Metric] > 0 {
			n = min(n, r.room(float64(cost[r.Metric])))
		}
	}
	return int(min(n, 1e9))
}

func (c *modelCall) rank(l *modelLane, prefer int, ahead float64) float64 {
	switch {
	case l.index == prefer && l.slot <= c.now+ahead:
		return math.Inf(-1)
	case l.slot > c.now:
		return l.slot
	case c.cfg.Strategy == InOrder:
		return float64(l.index) - 1e9
	case c.cfg.Strategy == RoundRobin:
		return max(l.pass, c.round) - 1e12
	}
	return -float64(min(c.now-l.slot, 3600) * float64(l.Weight))
}

func (c *modelCall) best(d PoolDemand, ahead float64) (chosen *modelLane, noPermit bool) {
	best := 0.0
	for _, l := range c.lanes[d.First : d.Last+1] {
		switch {
		case !l.open() || l.claimed:
		case c.room(l) < 1:
			noPermit = true
		default:
			r := c.rank(l, d.Prefer, ahead)
			if chosen == nil || r < best || r == best && l.pass < chosen.pass {
				chosen, best = l, r
			}
		}
	}
	return chosen, noPermit
}

func (c *modelCall) blocked(at float64, why int) {
	if c.binding == BindingNone {
		c.binding = why
	}
	c.wake = min(c.wake, max(0, at-c.now))
}

func (c *modelCall) open(d PoolDemand) int {
	n := 0
	for _, l := range c.lanes[d.First : d.Last+1] {
		if l.open() {
			n++
		}
	}
	return n
}

func (c *modelCall) demand(d PoolDemand) (over int) {
	for _, l := range c.lanes[d.First : d.Last+1] {
		if l.open() {
			for _, i := range l.Counters {
				c.grow(c.counters[i], d.Cost[c.counters[i].Metric])
			}
		}
	}
	open := c.open(d)
	portion := (d.Count + max(1, open) - 1) / max(1, open)
	reach := d.Ahead.Seconds()
	bound := max(c.horizon, float64(4*reach))
	for n := d.Count; n > 0; {
		for _, l := range c.lanes[d.First : d.Last+1] {
			c.price(l, d.Cost)
		}
		mine := c.shares == 1 || c.turn <= c.now+bound
		ahead := reach
		if !mine {
			ahead = min(reach, c.horizon/8)
		}
		l, noPermit := c.best(d, ahead)
		if l == nil {
			if noPermit {
				c.poll = true
				c.blocked(math.Inf(1), BindingPermits)
			} else if c.open(d) == 0 {
				c.allClosed(d)
			}
			return n
		}
		if l.opens > c.now+ahead {
			l.claimed = c.counters[l.binding].End == 0
			c.poll = c.poll || noPermit
			at := l.opens - ahead
			if !mine {
				at = min(at, max(c.turn-bound, l.opens-reach))
			}
			c.blocked(at, l.binding)
			return n
		}
		some := 1
		if portion > 1 && len(l.trials) == 0 {
			some = max(1, min(n, portion, c.room(l), c.atOnce(l, d.Cost)))
		}
		c.charge(l, d.Cost, some, open, bound)
		n -= some
	}
	return 0
}

func (c *modelCall) allClosed(d PoolDemand) {
	back, off, why := math.Inf(1), true, ""
	for _, l := range c.lanes[d.First : d.Last+1] {
		back, off = min(back, l.back), off && l.off
		if l.reason != "" {
			why = l.reason
		}
	}
	if !off {
		c.blocked(back, BindingCooldown)
		return
	}
	if c.binding == BindingNone {
		c.reply.Reason = why
	}
	c.blocked(back, BindingDisabled)
}

func (c *modelCall) charge(l *modelLane, cost []int64, n, open int, bound float64) {
	slot, takes := max(c.now, l.slot), 0.0
	c.delayed = BindingNone
	if l.slot > c.now {
		c.delayed = l.binding
	}
	for _, i := range l.Counters {
		r := c.counters[i]
		if units := float64(cost[r.Metric]); units > 0 {
			r.charge(slot, float64(units*float64(n)))
			takes = max(takes, float64(r.Interval*units)*float64(n))
		}
	}
	if c.shares > 1 {
		turn := c.turn + float64(float64(takes*float64(c.shares))/float64(open))
		c.turn = max(c.turn, min(turn, c.now+float64(2*bound)))
	}
	if p := l.Permits; p >= 0 {
		c.held[p] += n
		c.taken[p] += n
		c.holding, c.free = c.holding+n, c.free-n
	}
	c.round = max(l.pass, c.round)
	l.pass = c.round + float64(float64(n)/float64(l.Weight))
	key, trial := c.nextKey(l)
	l.next %= 1000000
	c.poolModel.lanes[l.Name] = l.modelCursor
	offset := int64(math.Ceil(float64(slot-c.now) * 1e6))
	for range n {
		g := PoolGrant{Lane: l.index, Key: key, Slot: c.call.Now + offset, Trial: trial}
		c.reply.Grants = append(c.reply.Grants, g)
	}
}
