package scripts

import "math"

// prepare works out the permits of an account, once.
func (c *modelCall) prepare(a *modelAccount) {
	if a.ready || !c.limited() {
		return
	}
	a.ready, a.permits = true, a.most
	if c.cfg.Adaptive != nil {
		a.permits = min(a.most, int(math.Floor(c.adapted(a, *c.cfg.Adaptive))))
	}
}

func (c *modelCall) adapted(a *modelAccount, p SemaphoreAdaptive) float64 {
	var samples *PoolReport
	for i, other := range c.accounts {
		if other == a {
			samples = c.samples[i]
		}
	}
	state := c.adaptive[a.id]
	if state != nil && c.now-float64(state.since)/1e6 >= 600 {
		state = nil
	}
	switch {
	case samples == nil && state == nil:
		return float64(p.Initial)
	case samples == nil:
		return state.limit
	case state == nil:
		state = &adaptiveModel{limit: float64(p.Initial), since: int64(c.now * 1e6)}
		if samples.Units > 0 {
			state.limit = float64(max(p.Min, samples.Units))
		}
		c.adaptive[a.id] = state
	}
	p.OK, p.Dropped, p.Total = samples.OK, samples.Dropped, samples.For
	used := int64(a.others) + max(int64(a.held), samples.Peak)
	state.adapt(&p, used, int64(a.most), int64(c.now*1e6))
	return state.limit
}

func (c *modelCall) countPermits() {
	for i := range c.accounts {
		if c.samples[i] != nil {
			c.prepare(c.accounts[i])
		}
	}
	c.contended = c.limited() && c.queue > 0
	if !c.contended {
		return
	}
	for _, a := range c.accounts {
		c.prepare(a)
	}
	c.share()
	c.serveQueue(false)
}

// share works out the free permits of accounts that can be used, and the fair share.
func (c *modelCall) share() {
	all := 0
	c.free = 0
	for _, a := range c.accounts {
		if c.idle[a.id] <= c.now {
			all += a.permits
			c.free += max(0, a.permits-a.taken())
		}
	}
	c.fair = (all + c.contenders) / (c.contenders + 1)
}

func (c *modelCall) markIdle(a *modelAccount, until float64) {
	if !c.limited() {
		return
	}
	c.prepare(a)
	if until > c.now {
		until = min(until, c.now+modelIdle)
	} else {
		until = 0
	}
	if (c.idle[a.id] > c.now) != (until > 0) {
		c.idle[a.id] = until
		if c.contended {
			c.share()
		}
	}
}

// room returns how many permits of a target the session may take now.
func (c *modelCall) room(l *modelTarget) int {
	switch {
	case !c.limited():
		return math.MaxInt
	case c.hold > c.now:
		return 0
	}
	n := l.account.permits - l.account.taken()
	if c.contended {
		n = min(n, max(c.fair-c.holding, c.free-c.aside))
	}
	return n
}

func (c *modelCall) serveQueue(toAll bool) {
	unclaimed := c.free - c.aside
	for looked := 0; unclaimed >= 1 && c.hold <= c.now && c.first <= c.last && looked < modelServed; looked++ {
		ticket := c.first
		c.poolModel.first++
		var s *modelSession
		for name, other := range c.sessions {
			if other.ticket == ticket && name != c.name {
				s = other
			}
		}
		switch {
		case s == nil:
		case s.sum() < c.fair || toAll:
			give := min(s.want, max(0, c.fair-s.sum()), c.free-c.aside)
			s.ticket, s.aside = 0, give
			c.aside += give
			unclaimed -= max(1, give)
		default:
			c.poolModel.last++
			s.ticket = c.last
		}
	}
}
