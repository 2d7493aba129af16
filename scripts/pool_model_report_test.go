package scripts

import "math"

type modelBlock struct {
	until  float64
	off    bool
	reason string
}

// block returns a block that holds now, and one that is on trial.
func (c *modelCall) block(name string) (b modelBlock, trial bool) {
	b, ok := c.blocks[name]
	switch {
	case !ok:
	case b.until > c.now:
		return b, false
	case b.off:
		return modelBlock{off: true, reason: b.reason}, true
	default:
		delete(c.blocks, name)
	}
	return modelBlock{}, false
}

func (c *modelCall) report(r *PoolReport) {
	var counter *modelCounter
	if r.Kind >= SettleCounter && r.Kind < UnlessRan {
		counter = c.counter(r.Limit, r.Owner)
	}
	switch r.Kind {
	case CoolBlock, DisableBlock:
		old, _ := c.block(r.Block)
		until, off := c.now+r.For.Seconds(), r.Kind == DisableBlock
		if until > c.now && (until > old.until || off && !old.off) {
			c.blocks[r.Block] = modelBlock{max(until, old.until), off || old.off, r.Reason}
		}
	case ClearBlock:
		if c.blocks[r.Block].off {
			delete(c.blocks, r.Block)
		}
	case SettleCounter:
		counter.charged = true
		if counter.End > 0 {
			counter.used = max(0, counter.used+float64(r.Units))
		} else {
			counter.tat = max(counter.tat, c.now) + float64(float64(r.Units)*counter.Interval)
		}
	case HoldCounter:
		if counter.End == 0 {
			burst := float64(float64(counter.Burst-1) * counter.Interval)
			counter.tat = max(counter.tat, c.now+r.For.Seconds()+burst)
			counter.charged = true
		}
	case UsedCounter:
		if counter.End > 0 {
			counter.used = max(counter.used, float64(r.Units))
			counter.charged = true
		}
	case BookCounter:
		if counter.End == 0 {
			counter.tat = max(counter.tat, c.now+r.For.Seconds())
			counter.charged = true
		}
	case AdaptPermits:
		c.samples[r.Account] = r
	case SlowCounter:
		value, at := c.paceOf(counter.name)
		if counter.End == 0 && c.now-at >= r.Quiet.Seconds() {
			slower := max(0.05, value*r.Factor)
			c.pace[counter.name] = modelPace{slower, c.now, r.For.Seconds()}
			counter.Interval = float64(counter.Interval*value) / slower
		}
	}
}

func (c *modelCall) paceOf(counter string) (value, at float64) {
	p, ok := c.pace[counter]
	if !ok {
		return 1, 0
	}
	return min(1, p.value+float64((c.now-p.at)/p.recovery)), p.at
}

// modelCounter is a counter during one call.
type modelCounter struct {
	PoolLimit
	index                        int
	name                         string
	end, used, tat, now, horizon float64
	least                        int64
	memory                       float64
	charged                      bool
}

type modelBurst struct {
	burst  int64
	needed float64
}

// counter returns the counter of a limit, which is read when it is first needed.
func (c *modelCall) counter(limit int, owner string) *modelCounter {
	p := c.cfg.Limits[limit]
	name := PoolLimitName(p.Name)
	switch p.Scope {
	case PerAccount:
		name = AccountLimitName(owner, p.Name)
	case PerKey:
		name = KeyLimitName(owner, p.Name)
	case PerPool:
	}
	if c.counters[name] == nil {
		c.counters[name] = c.readCounter(limit, name)
	}
	return c.counters[name]
}

func (c *modelCall) readCounter(limit int, name string) *modelCounter {
	p := c.cfg.Limits[limit]
	r := &modelCounter{PoolLimit: p, index: limit, name: name, now: c.now, horizon: c.horizon, least: p.Burst}
	if p.End > 0 {
		s := c.poolModel.used[name]
		if s.end <= c.now {
			s = modelCount{end: float64(p.End) / 1e6}
			if s.end <= c.now {
				s.end += float64((math.Floor(float64(c.now-s.end)/86400) + 1) * 86400)
			}
		}
		r.end, r.used = s.end, s.used
		return r
	}
	r.memory = max(60, float64(10*float64(p.Limit))*p.Interval)
	pace, _ := c.paceOf(name)
	r.Interval /= pace
	if b, ok := c.bursts[name]; ok && c.now-b.needed < r.memory {
		r.setBurst(max(r.Burst, b.burst))
	} else {
		delete(c.bursts, name)
	}
	r.tat = min(c.tat[name], c.now+c.horizon+float64(float64(2*float64(p.Limit))*r.Interval))
	return r
}

func (r *modelCounter) setBurst(burst int64) {
	r.Interval = float64(r.Interval*float64(r.Limit-r.Burst+1)) / float64(r.Limit-burst+1)
	r.Burst = burst
}

func (c *modelCall) grow(r *modelCounter, units int64) {
	if !r.Grows || r.End > 0 || units <= r.least || float64(units) > float64(r.Limit)*0.25 {
		return
	}
	if units > r.Burst {
		more := float64(units - r.Burst)
		r.setBurst(units)
		more = float64(more * r.Interval)
		r.tat = max(r.tat, c.now-more) + more
		r.charged = true
	} else if c.now-c.bursts[r.name].needed < r.memory/10 {
		return
	}
	c.bursts[r.name] = modelBurst{r.Burst, c.now}
}

func (r *modelCounter) save(m *poolModel) {
	if r.End == 0 {
		m.tat[r.name] = r.tat
	} else {
		m.used[r.name] = modelCount{r.end, r.used}
	}
}

func (r *modelCounter) sendAt(from, units float64) float64 {
	switch {
	case r.End == 0:
		return max(from, r.tat+float64((units-float64(r.Burst))*r.Interval))
	case r.used+units > float64(r.Burst):
		return max(from, r.end+r.horizon)
	default:
		return from
	}
}

func (r *modelCounter) room(units float64) float64 {
	if r.End > 0 {
		return math.Floor((float64(r.Burst) - r.used) / units)
	}
	return math.Floor((r.now + float64(float64(r.Burst)*r.Interval) - max(r.tat, r.now)) / float64(units*r.Interval))
}

func (r *modelCounter) charge(sendAt, units float64) {
	r.charged = true
	if r.End > 0 {
		r.used += units
	} else {
		r.tat = max(r.tat, sendAt) + float64(units*r.Interval)
	}
}
