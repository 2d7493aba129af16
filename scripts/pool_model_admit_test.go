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
		r := c.cfg.Counters[i]
		units := cost[r.Metric]
		if units == 0 {
			continue
		}
		l.opens = max(l.opens, c.tats[i]+float64(float64(1-r.Burst)*r.Interval))
		if slot := c.tats[i] + float64(float64(units-r.Burst)*r.Interval); slot > l.slot {
			l.slot, l.binding = slot, i
		}
	}
}

// atOnce returns how many calls of a cost a lane can serve now.
func (c *modelCall) atOnce(l *modelLane, cost []int64) int {
	n := math.Inf(1)
	for _, i := range l.Counters {
		r := c.cfg.Counters[i]
		if units := float64(cost[r.Metric]); units > 0 {
			left := c.now + float64(float64(r.Burst)*r.Interval) - max(c.tats[i], c.now)
			n = min(n, math.Floor(left/float64(units*r.Interval)))
		}
	}
	return int(min(n, 1e9))
}

func (c *modelCall) best(d PoolDemand) (chosen *modelLane, noPermit bool) {
	for _, l := range c.lanes[d.First : d.Last+1] {
		switch {
		case !l.open || l.claimed:
		case c.room(l) < 1:
			noPermit = true
		case chosen == nil || l.slot < chosen.slot:
			chosen = l
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

func (c *modelCall) demand(d PoolDemand) (over int) {
	open := 0
	for _, l := range c.lanes[d.First : d.Last+1] {
		if l.open {
			open++
		}
	}
	if open == 0 {
		c.allClosed(d)
		return d.Count
	}
	portion := (d.Count + open - 1) / open
	for n := d.Count; n > 0; {
		for _, l := range c.lanes[d.First : d.Last+1] {
			c.price(l, d.Cost)
		}
		l, noPermit := c.best(d)
		if l == nil {
			if noPermit {
				c.poll = true
				c.blocked(math.Inf(1), BindingPermits)
			}
			return n
		}
		mine := c.shares == 1 || c.turn <= c.now+c.horizon
		ahead := c.horizon
		if !mine {
			ahead /= 4
		}
		if l.opens > c.now+ahead {
			l.claimed = true
			c.poll = c.poll || noPermit
			at := l.opens - ahead
			if !mine {
				at = min(at, max(c.turn, l.opens)-c.horizon)
			}
			c.blocked(at, l.binding)
			return n
		}
		some := 1
		if portion > 1 {
			some = max(1, min(n, portion, c.room(l), c.atOnce(l, d.Cost)))
		}
		c.charge(l, d.Cost, some, open)
		n -= some
	}
	return 0
}

func (c *modelCall) allClosed(d PoolDemand) {
	back, off, why := math.Inf(1), true, ""
	for _, l := range c.lanes[d.First : d.Last+1] {
		back, off = min(back, l.back), off && l.off
		if l.off && len(l.Keys) > 0 || l.reason != "" {
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

func (c *modelCall) charge(l *modelLane, cost []int64, n, open int) {
	slot, takes := max(c.now, l.slot), 0.0
	c.delayed = BindingNone
	if l.slot > c.now {
		c.delayed = l.binding
	}
	for _, i := range l.Counters {
		r := c.cfg.Counters[i]
		units := float64(cost[r.Metric])
		if units == 0 {
			continue
		}
		c.tats[i] = max(c.tats[i], slot) + float64(units*float64(n)*r.Interval)
		c.charged[i] = true
		takes = max(takes, float64(r.Interval*units)*float64(n))
	}
	if c.shares > 1 {
		turn := c.turn + float64(float64(takes*float64(c.shares))/float64(open))
		c.turn = min(turn, c.now+float64(2*c.horizon))
	}
	if p := l.Permits; p >= 0 {
		c.held[p] += n
		c.taken[p] += n
		c.holding, c.free = c.holding+n, c.free-n
	}
	key := l.keys[c.cursor[l.Name]%len(l.keys)]
	c.cursor[l.Name] = (c.cursor[l.Name] + 1) % 1000000
	offset := int64(math.Ceil(float64(slot-c.now) * 1e6))
	for range n {
		c.reply.Grants = append(c.reply.Grants, PoolGrant{Lane: l.index, Key: key, Slot: c.call.Now + offset})
	}
}
