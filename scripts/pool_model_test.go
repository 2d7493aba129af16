package scripts

import (
	"maps"
	"math"
	"time"
)

// poolModel is what the pool's script does, in Go: the same state, the same arithmetic in the same order, no Redis.
type poolModel struct {
	tat      map[string]float64 // by counter
	cursor   map[string]int     // by lane
	blocks   map[string]modelBlock
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
		tat:      map[string]float64{},
		cursor:   map[string]int{},
		blocks:   map[string]modelBlock{},
		sessions: map[string]modelSession{},
	}
}

// modelLane is a lane during one call.
type modelLane struct {
	PoolLane
	index         int
	keys          []int // those that can be used
	open, claimed bool
	off           bool
	back          float64
	reason        string
	opens, slot   float64
	binding       int
}

// modelCall is one call on its way through the model.
type modelCall struct {
	*poolModel
	cfg                     *PoolConfig
	call                    *PoolCall
	now, horizon, turn      float64
	lanes                   []*modelLane
	tats                    []float64
	charged                 map[int]bool
	held, taken             []int
	shares, fair            int
	setAside, free, holding int
	wake                    float64
	poll                    bool
	binding, delayed        int
	reply                   *PoolReply
}

func (m *poolModel) admit(cfg *PoolConfig, p *PoolCall) (*PoolReply, error) {
	c := &modelCall{
		poolModel: m, cfg: cfg, call: p, now: float64(p.Now) / 1e6, horizon: cfg.Horizon.Seconds(),
		charged: map[int]bool{}, wake: math.Inf(1), binding: BindingNone, delayed: BindingNone,
		reply: &PoolReply{Now: p.Now, Grants: []PoolGrant{}},
	}
	if p.Deadline > 0 && p.Now > p.Deadline {
		return nil, ErrLate
	}
	c.turn = c.now
	if own, ok := m.sessions[cfg.Session]; ok {
		if own.seq >= p.Seq {
			return nil, ErrStale
		}
		c.turn = max(c.now, own.turn)
	}
	maps.DeleteFunc(m.sessions, func(name string, s modelSession) bool { return name != cfg.Session && s.end <= c.now })
	for _, r := range cfg.Counters {
		c.tats = append(c.tats, m.tat[r.Name])
	}
	c.report()
	c.countPermits()
	c.openLanes()
	left := 0
	for _, d := range p.Demands {
		over := c.demand(d)
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
	case c.poll || math.IsInf(c.wake, 1):
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
	for _, r := range c.call.Blocks {
		old := c.block(r.Name)
		until := c.now + r.For.Seconds()
		if until > c.now && (until > old.until || r.Off && !old.off) {
			c.blocks[r.Name] = modelBlock{max(until, old.until), r.Off || old.off, r.Reason}
		}
	}
	for _, s := range c.call.Settlements {
		c.tats[s.Counter] = max(c.tats[s.Counter], c.now) + float64(float64(s.Units)*c.cfg.Counters[s.Counter].Interval)
		c.charged[s.Counter] = true
	}
}

func (c *modelCall) countPermits() {
	capacity, contenders := 0, 1
	for i, p := range c.cfg.Permits {
		c.held = append(c.held, c.call.Held[i])
		c.taken = append(c.taken, c.call.Held[i])
		c.holding += c.call.Held[i]
		capacity += p.Limit
	}
	type rival struct{ want, sum int }
	var rivals []rival
	for name, s := range c.sessions {
		if name == c.cfg.Session {
			continue
		}
		if s.want > 0 {
			c.shares++
		}
		r := rival{want: s.want}
		for i, p := range c.cfg.Permits {
			r.sum += s.held[p.Name]
			c.taken[i] += s.held[p.Name]
		}
		if r.want > 0 || r.sum > 0 {
			contenders++
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
	for i, p := range c.cfg.Permits {
		c.free += max(0, p.Limit-c.taken[i])
	}
}

func (c *modelCall) openLanes() {
	for i, lane := range c.cfg.Lanes {
		l := &modelLane{PoolLane: lane, index: i, back: math.Inf(1), off: true}
		var whole modelBlock
		for _, name := range l.Blocks {
			b := c.block(name)
			whole.until = max(whole.until, b.until)
			if b.off {
				whole.off, whole.reason = true, b.reason
			}
		}
		for k, name := range l.Keys {
			b := c.block(KeyBlock(name))
			if b.off || whole.off {
				l.reason = whole.reason
				if b.off {
					l.reason = b.reason
				}
			} else {
				l.off = false
			}
			until := max(whole.until, b.until)
			if until <= c.now {
				l.keys = append(l.keys, k)
			}
			l.back = min(l.back, until)
		}
		l.open = len(l.keys) > 0
		c.lanes = append(c.lanes, l)
	}
}

func (c *modelCall) save(left int) {
	for i := range c.charged {
		c.tat[c.cfg.Counters[i].Name] = c.tats[i]
	}
	held, holds := map[string]int{}, false
	for i, p := range c.cfg.Permits {
		if c.held[i] > 0 {
			held[p.Name], holds = c.held[i], true
		}
	}
	s := modelSession{end: c.now + c.cfg.TTL.Seconds(), turn: c.turn, seq: c.call.Seq, want: left, held: held}
	switch {
	case left > 0 || holds:
		c.sessions[c.cfg.Session] = s
	case c.turn > c.now:
		s.end = c.turn
		c.sessions[c.cfg.Session] = s
	default:
		delete(c.sessions, c.cfg.Session)
	}
}
