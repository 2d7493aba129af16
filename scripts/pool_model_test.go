package scripts

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

// poolModel is what pool.lua does, in Go: the same state, the same arithmetic in the same order, no Redis.
type poolModel struct {
	tat      map[[2]string]float64 // by account and limit
	cursor   map[string]int
	blocks   map[string]modelBlock // by "k:"+key or "a:"+account
	sessions map[string]modelSession
}

type modelBlock struct {
	until  float64
	off    bool
	reason string
}

type modelSession struct {
	end, turn float64
	seq       int64
	want      int
	held      map[string]int
}

func newPoolModel() *poolModel {
	return &poolModel{
		tat:      map[[2]string]float64{},
		cursor:   map[string]int{},
		blocks:   map[string]modelBlock{},
		sessions: map[string]modelSession{},
	}
}

// modelAccount is an account during one call.
type modelAccount struct {
	PoolAccount
	index       int
	taken       int
	usable      []int // indices of keys
	claimed     bool
	opens, slot float64
	binding     int
	touched     bool
	tats        []float64
	allOff      bool
	comesBack   float64
	reason      string
}

// modelCall is one call on its way through the model.
type modelCall struct {
	*poolModel
	*PoolCall
	now, horizon, turn      float64
	accounts                []*modelAccount
	usable                  []*modelAccount
	shares, fair            int
	setAside, free, holding int
	wake                    float64
	binding, delayed        int
	reply                   *PoolReply
}

func (m *poolModel) call(p *PoolCall) (*PoolReply, error) {
	c := &modelCall{
		poolModel: m, PoolCall: p, now: float64(p.Now) / 1e6, horizon: p.Horizon.Seconds(),
		wake: math.Inf(1), binding: BindingNone, delayed: BindingNone, reply: &PoolReply{Now: p.Now},
	}
	if p.Deadline > 0 && p.Now > p.Deadline {
		return nil, ErrLate
	}
	c.turn = c.now
	if own, ok := m.sessions[p.Session]; ok {
		if own.seq >= p.Seq {
			return nil, ErrStale
		}
		c.turn = max(c.now, own.turn)
	}
	maps.DeleteFunc(m.sessions, func(name string, s modelSession) bool { return name != p.Session && s.end <= c.now })
	c.report()
	c.countPermits()
	c.findUsable()
	left := 0
	for _, d := range p.Demands {
		over := c.admit(d)
		left += over
		c.reply.Admitted = append(c.reply.Admitted, d.Count-over)
	}
	c.save(left)
	c.reply.Waiting = c.shares - 1
	c.reply.Binding = c.binding
	if c.binding == BindingNone {
		c.reply.Binding = c.delayed
	}
	switch {
	case left == 0:
	case math.IsInf(c.wake, 1):
		c.reply.Wake = PoolPoll
	default:
		c.reply.Wake = time.Duration(math.Ceil(c.wake*1e6)) * time.Microsecond
	}
	return c.reply, nil
}

func (c *modelCall) block(name string) modelBlock {
	b := c.blocks[name]
	if b.until <= c.now {
		delete(c.blocks, name)
		return modelBlock{}
	}
	return b
}

func (c *modelCall) report() {
	for _, r := range c.Reports {
		name := "k:" + r.Name
		if r.Account {
			name = "a:" + r.Name
		}
		old := c.block(name)
		until := c.now + r.For.Seconds()
		if until > c.now && (until > old.until || r.Off && !old.off) {
			c.blocks[name] = modelBlock{max(until, old.until), r.Off || old.off, r.Reason}
		}
	}
}

func (c *modelCall) countPermits() {
	capacity, contenders := 0, 1
	for i, a := range c.Accounts {
		capacity += a.Permits
		c.holding += a.Held
		c.accounts = append(c.accounts, &modelAccount{PoolAccount: a, index: i, taken: a.Held})
	}
	type rival struct{ want, sum int }
	var rivals []rival
	for name, s := range c.sessions {
		if name == c.Session {
			continue
		}
		if s.want > 0 {
			c.shares++
		}
		r := rival{want: s.want}
		if capacity > 0 {
			for _, n := range s.held {
				r.sum += n
			}
			for _, a := range c.accounts {
				a.taken += s.held[a.Name]
			}
			if r.want > 0 || r.sum > 0 {
				contenders++
			}
		}
		rivals = append(rivals, r)
	}
	c.shares++
	c.fair = (capacity + contenders - 1) / contenders
	for _, r := range rivals {
		if r.want > 0 && r.sum < c.fair {
			c.setAside += min(r.want, c.fair-r.sum)
		}
	}
	for _, a := range c.accounts {
		c.free += max(0, a.Permits-a.taken)
	}
}

func (c *modelCall) findUsable() {
	for _, a := range c.accounts {
		whole := c.block("a:" + a.Name)
		a.allOff, a.comesBack = true, math.Inf(1)
		for k, name := range a.Keys {
			b := c.block("k:" + name)
			if b.off || whole.off {
				a.reason = whole.reason
				if b.off {
					a.reason = b.reason
				}
			} else {
				a.allOff = false
			}
			if b.until <= c.now {
				a.usable = append(a.usable, k)
			}
			a.comesBack = min(a.comesBack, max(whole.until, b.until))
		}
		if whole.until <= c.now && len(a.usable) > 0 {
			for _, l := range c.Limits {
				a.tats = append(a.tats, c.tat[[2]string{a.Name, l.Name}])
			}
			c.usable = append(c.usable, a)
		}
	}
}

func (a *modelAccount) price(limits []PoolLimit, cost []int64) {
	a.opens, a.slot, a.binding = 0, 0, BindingNone
	for m, l := range limits {
		if cost[m] == 0 {
			continue
		}
		a.opens = max(a.opens, a.tats[m]+float64(float64(1-l.Burst)*l.Interval))
		if slot := a.tats[m] + float64(float64(cost[m]-l.Burst)*l.Interval); slot > a.slot {
			a.slot, a.binding = slot, m
		}
	}
}

func (c *modelCall) mayTake(a *modelAccount) bool {
	return a.Permits == 0 || a.taken < a.Permits && (c.holding < c.fair || c.free > c.setAside)
}

func (c *modelCall) best() (chosen *modelAccount, noPermit bool) {
	for _, a := range c.usable {
		switch {
		case a.claimed:
		case !c.mayTake(a):
			noPermit = true
		case chosen == nil || cmp.Or(cmp.Compare(a.slot, chosen.slot), cmp.Compare(a.taken, chosen.taken)) < 0:
			chosen = a
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

func (c *modelCall) admit(d PoolDemand) (over int) {
	for n := d.Count; n > 0; n-- {
		for _, a := range c.usable {
			a.price(c.Limits, d.Cost)
		}
		a, noPermit := c.best()
		if a == nil {
			switch {
			case noPermit:
				c.blocked(math.Inf(1), BindingPermits)
			case len(c.usable) == 0:
				c.allBlocked()
			}
			return n
		}
		mine := c.shares == 1 || c.turn <= c.now+c.horizon
		ahead := c.horizon
		if !mine {
			ahead /= 4
		}
		if a.opens > c.now+ahead {
			a.claimed = true
			at := a.opens - ahead
			if !mine {
				at = min(at, max(c.turn, a.opens)-c.horizon)
			}
			c.blocked(at, a.binding)
			return n
		}
		c.charge(a, d.Cost)
	}
	return 0
}

func (c *modelCall) allBlocked() {
	back, off := math.Inf(1), true
	for _, a := range c.accounts {
		back, off = min(back, a.comesBack), off && a.allOff
	}
	if !off {
		c.blocked(back, BindingCooldown)
		return
	}
	c.blocked(back, BindingDisabled)
	for _, a := range slices.Backward(c.accounts) {
		if len(a.Keys) > 0 {
			c.reply.Reason = a.reason
			break
		}
	}
}

func (c *modelCall) charge(a *modelAccount, cost []int64) {
	slot, takes := max(c.now, a.slot), 0.0
	c.delayed = BindingNone
	if a.slot > c.now {
		c.delayed = a.binding
	}
	for m, l := range c.Limits {
		if cost[m] > 0 {
			a.tats[m] = max(a.tats[m], slot) + float64(float64(cost[m])*l.Interval)
			takes = max(takes, float64(l.Interval*float64(cost[m])))
		}
	}
	if c.shares > 1 {
		turn := c.turn + float64(float64(takes*float64(c.shares))/float64(len(c.usable)))
		c.turn = min(turn, c.now+float64(2*c.horizon))
	}
	a.touched = true
	a.Held, a.taken, c.holding = a.Held+1, a.taken+1, c.holding+1
	if a.Permits > 0 {
		c.free--
	}
	key := a.usable[c.cursor[a.Name]%len(a.usable)]
	c.cursor[a.Name] = (c.cursor[a.Name] + 1) % 1000000
	offset := int64(math.Ceil(float64(slot-c.now) * 1e6))
	c.reply.Grants = append(c.reply.Grants, PoolGrant{Account: a.index, Key: key, Slot: c.Now + offset})
}

func (c *modelCall) save(left int) {
	held := map[string]int{}
	for _, a := range c.accounts {
		for m, l := range c.Limits {
			if a.touched {
				c.tat[[2]string{a.Name, l.Name}] = a.tats[m]
			}
		}
		if a.Held > 0 {
			held[a.Name] = a.Held
		}
	}
	s := modelSession{end: c.now + c.TTL.Seconds(), turn: c.turn, seq: c.Seq, want: left, held: held}
	switch {
	case left > 0 || len(held) > 0:
		c.sessions[c.Session] = s
	case c.turn > c.now:
		s.end = c.turn
		c.sessions[c.Session] = s
	default:
		delete(c.sessions, c.Session)
	}
}
