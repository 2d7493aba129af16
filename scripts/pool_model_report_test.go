package scripts

import (
	"math"
	"time"
)

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
	}
	return modelBlock{}, false
}

// followLimits stores the limits that the process sets, or returns those that rule in place of the ones it follows.
func (c *modelCall) followLimits() error {
	var follows LimitsError
	if len(c.call.Reports) > 0 && c.call.Reports[0].Kind == FollowLimits {
		follows = LimitsError{c.call.Reports[0].Units, c.call.Reports[0].Text}
	}
	ruling := c.limits
	switch {
	case follows.Version < ruling.Version, follows.Version > ruling.Version && follows.Text == "",
		follows.Version == ruling.Version && follows.Text != "" && follows.Text != ruling.Text:
		return &ruling
	case follows.Version > ruling.Version:
		c.poolModel.limits = follows
	}
	return nil
}

func (c *modelCall) reports() {
	counts := true
	for i := range c.call.Reports {
		r := &c.call.Reports[i]
		if r.Kind == UnlessRan {
			counts = r.Seq == 0 || c.ran < r.Seq
		} else if counts {
			c.report(r)
		}
	}
}

func (c *modelCall) report(r *PoolReport) {
	var counter *modelCounter
	if r.onCounter() {
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
		c.settle(counter, r)
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
		value, at := counter.shareNow()
		if counter.End == 0 && c.now-at >= r.Quiet.Seconds() {
			slower := max(0.05, value*r.Factor)
			counter.share, counter.since, counter.recovery = slower, c.now, r.For.Seconds()
			counter.Interval = float64(counter.Interval*value) / slower
			counter.charged = true
		}
	}
}

func (c *modelCall) settle(r *modelCounter, report *PoolReport) {
	units, charged := float64(report.Units), float64(report.Charged)/1e6
	late := units <= 0 && charged != 0
	switch {
	case math.Abs(units) > 2*float64(r.Limit):
		c.reply.Refused++
	case r.End > 0:
		if !late || charged >= r.end-86400 {
			r.used, r.charged = max(0, r.used+units), true
		}
	case !late || c.wall-charged < r.PoolLimit.period():
		latest := max(r.tat, c.now+c.horizon+float64(float64(r.Limit)*r.Interval))
		r.tat = min(latest, max(r.tat, c.now)+float64(units*r.Interval))
		r.charged = true
	}
}

// modelCounterState is what is kept of a GCRA counter.
type modelCounterState struct {
	tat             float64
	burst           int64 // 0: as configured
	burstUntil      float64
	share           float64 // of the rate; 0: the whole
	since, recovery float64
}

// modelCounter is a counter during one call.
type modelCounter struct {
	PoolLimit
	modelCounterState
	index                        int
	name                         string
	end, used, now, horizon, off float64
	least                        int64
	memory                       float64
	charged                      bool
}

func (r *modelCounter) shareNow() (value, at float64) {
	if r.share == 0 {
		return 1, 0
	}
	return min(1, r.share+float64((r.now-r.since)/r.recovery)), r.since
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
	r := &modelCounter{PoolLimit: p, index: limit, name: name, now: c.now, horizon: c.horizon, off: c.offset, least: p.Burst}
	if p.Period == 0 { // Interval changes below
		r.Period = time.Duration(p.period() * 1e9)
	}
	if p.End > 0 {
		s := c.poolModel.used[name]
		if s.end <= c.wall {
			s = modelCount{end: float64(p.End) / 1e6}
			if s.end <= c.wall {
				s.end += float64((math.Floor(float64(c.wall-s.end)/86400) + 1) * 86400)
			}
		}
		r.end, r.used = s.end, s.used
		return r
	}
	r.memory = max(60, float64(10*float64(p.Limit))*p.Interval)
	r.modelCounterState = c.poolModel.counters[name]
	share, _ := r.shareNow()
	r.Interval /= share
	if r.burst > 0 && r.burstUntil > c.now {
		r.setBurst(max(r.Burst, r.burst))
	} else {
		r.burst, r.burstUntil = 0, 0
	}
	r.tat = min(r.tat, c.now+c.horizon+float64(float64(2*float64(p.Limit))*r.Interval))
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
	} else if r.burstUntil-c.now > float64(r.memory*0.9) {
		return
	}
	r.burst, r.burstUntil, r.charged = r.Burst, c.now+r.memory, true
}

func (r *modelCounter) save(m *poolModel) {
	share, _ := r.shareNow()
	switch {
	case r.End > 0:
		m.used[r.name] = modelCount{r.end, r.used}
	case r.burst > 0 || share < 1:
		m.counters[r.name] = r.modelCounterState
	default:
		m.counters[r.name] = modelCounterState{tat: r.tat}
	}
}

func (r *modelCounter) sendAt(from, units float64) float64 {
	switch {
	case r.End == 0:
		return max(from, r.tat+float64((units-float64(r.Burst))*r.Interval))
	case r.used+units > float64(r.Burst):
		return max(from, r.end+r.off+r.horizon)
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
