package scripts

import (
	"maps"
	"math"
	"slices"
	"time"
)

// poolModel is what the pool's script does, in Go: the same state, the same arithmetic in the same order, no Redis.
type poolModel struct {
	tat      map[string]float64 // by counter
	used     map[string]modelCount
	pace     map[string]modelPace
	bursts   map[string]modelBurst
	targets  map[string]modelCursor
	blocks   map[string]modelBlock
	sessions map[string]modelSession
	adaptive map[string]*adaptiveModel // by account
	round    float64
	version  StateVersion // of the last reply: the model doesn't know how often the script writes
}

type modelCount struct{ end, used float64 }

type modelPace struct{ value, at, recovery float64 }

type modelCursor struct {
	next int
	pass float64
}

type modelSession struct {
	end, turn               float64
	seq                     int64
	want, waitingForPermits int
	held                    map[string]int
}

func newPoolModel() *poolModel {
	return &poolModel{
		tat:      map[string]float64{},
		used:     map[string]modelCount{},
		pace:     map[string]modelPace{},
		bursts:   map[string]modelBurst{},
		targets:  map[string]modelCursor{},
		blocks:   map[string]modelBlock{},
		sessions: map[string]modelSession{},
		adaptive: map[string]*adaptiveModel{},
	}
}

// modelCall is one call on its way through the model.
type modelCall struct {
	*poolModel
	cfg                     *PoolConfig
	call                    *PoolCall
	now, horizon, turn      float64
	ran                     int64 // seq of the session's last call that did
	settled                 bool
	counters                map[string]*modelCounter
	targets                 map[int][]*modelTarget // by group
	held, taken, permits    []int                  // by account
	samples                 map[int]*PoolReport    // by account
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
		counters: map[string]*modelCounter{}, targets: map[int][]*modelTarget{}, samples: map[int]*PoolReport{},
		wake: math.Inf(1), binding: ConstraintNone, delayed: ConstraintNone,
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
		c.turn, c.ran = max(c.now, own.turn), own.seq
	}
	switch {
	case p.Expected.Generation > 0 && p.Expected.Generation != m.version.Generation:
		return nil, ErrLostAll
	case p.Expected.Version > m.version.Version:
		return nil, ErrLost
	}
	maps.DeleteFunc(m.sessions, func(name string, s modelSession) bool { return name != cfg.Session && s.end <= c.now })
	counts := true
	for i := range p.Reports {
		r := &p.Reports[i]
		c.settled = c.settled || r.Kind == SettleCounter
		if r.Kind == UnlessRan {
			counts = r.Seq == 0 || c.ran < r.Seq
		} else if counts {
			c.report(r)
		}
	}
	c.countPermits()
	left := 0
	for _, d := range p.Demands {
		over, why := c.demand(d)
		left += over
		if c.binding == ConstraintNone {
			c.binding = why
		}
		c.reply.Admitted = append(c.reply.Admitted, d.Count-over)
		c.reply.Blocked = append(c.reply.Blocked, why)
	}
	c.save(left)
	c.answer(left)
	return c.reply, nil
}

func (c *modelCall) answer(left int) {
	c.reply.Waiting, c.reply.Poll = c.shares-1, c.poll
	c.reply.Constraint = c.binding
	if c.binding == ConstraintNone {
		c.reply.Constraint = c.delayed
	}
	switch {
	case left == 0:
	case math.IsInf(c.wake, 1):
		c.reply.Wake = PoolPoll
	default:
		c.reply.Wake = time.Duration(math.Ceil(c.wake*1e6)) * time.Microsecond
	}
}

func (c *modelCall) countPermits() {
	contenders := 1
	c.held, c.taken = make([]int, len(c.cfg.Accounts)), make([]int, len(c.cfg.Accounts))
	if c.cfg.Concurrency > 0 {
		copy(c.held, c.call.Held)
		copy(c.taken, c.call.Held)
	}
	for _, n := range c.held {
		c.holding += n
	}
	type rival struct{ waitingForPermits, sum int }
	var rivals []rival
	for name, s := range c.sessions {
		if name == c.cfg.Session {
			continue
		}
		if s.want > s.waitingForPermits {
			c.shares++
		}
		r := rival{waitingForPermits: s.waitingForPermits}
		for i, a := range c.cfg.Accounts {
			r.sum += s.held[a.ID]
			c.taken[i] += s.held[a.ID]
		}
		if r.waitingForPermits > 0 || r.sum > 0 {
			contenders++
		}
		rivals = append(rivals, r)
	}
	c.shares++
	all := c.countAdapted()
	c.fair = (all + contenders - 1) / contenders
	for _, r := range rivals {
		if r.waitingForPermits > 0 && r.sum < c.fair {
			c.setAside += min(r.waitingForPermits, c.fair-r.sum)
		}
	}
	for i, taken := range c.taken {
		c.free += max(0, c.permits[i]-taken)
	}
}

// countAdapted works out the permits of each account, and returns all of them.
func (c *modelCall) countAdapted() (all int) {
	c.permits = make([]int, len(c.cfg.Accounts))
	for i, a := range c.cfg.Accounts {
		c.permits[i] = c.cfg.Concurrency
		if p := c.cfg.Adaptive; p != nil && c.cfg.Concurrency > 0 {
			c.permits[i] = min(c.permits[i], int(math.Floor(c.adapted(i, a.ID, *p))))
		}
		all += c.permits[i]
	}
	return all
}

func (c *modelCall) adapted(i int, account string, p SemaphoreAdaptive) float64 {
	state, samples := c.adaptive[account], c.samples[i]
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
		c.adaptive[account] = state
	}
	p.OK, p.Dropped, p.Total = samples.OK, samples.Dropped, samples.For
	used := int64(c.taken[i]-c.held[i]) + max(int64(c.held[i]), samples.Peak)
	state.adapt(&p, used, int64(c.cfg.Concurrency), int64(c.now*1e6))
	return state.limit
}

func (c *modelCall) save(left int) {
	for _, r := range c.counters {
		if r.charged {
			r.save(c.poolModel)
		}
	}
	held, any := map[string]int{}, false
	for i, a := range c.cfg.Accounts {
		if c.held[i] > 0 {
			held[a.ID], any = c.held[i], true
		}
	}
	s := modelSession{end: c.now + c.cfg.TTL.Seconds(), turn: c.turn, seq: c.call.Seq, want: left, held: held}
	switch {
	case c.binding == ConstraintPermits:
		s.waitingForPermits = left
	case c.poll:
		s.waitingForPermits = 1
	}
	switch {
	case left > 0 || any:
		c.sessions[c.cfg.Session] = s
	case c.settled:
		s.end = max(c.turn, s.end)
		c.sessions[c.cfg.Session] = s
	case c.turn > c.now:
		s.end = c.turn
		c.sessions[c.cfg.Session] = s
	default:
		delete(c.sessions, c.cfg.Session)
	}
}

// modelTarget is a target during one call.
type modelTarget struct {
	modelCursor
	name               string
	account            int
	blocks             []string
	counters           []*modelCounter
	keyNames           []string
	weight             int
	index              int
	keys, trials       []int
	trial              bool // the target itself is
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
	for i, a := range c.cfg.Accounts {
		switch {
		case !byKey:
			c.openTarget(index, i, "", a.Keys)
		default:
			for _, k := range a.Keys {
				c.openTarget(index, i, k.ID, []PoolKeyWeight{k})
			}
		}
	}
	return c.targets[index]
}

func (c *modelCall) openTarget(group, account int, key string, keys []PoolKeyWeight) {
	f, a := c.cfg.ModelGroups[group], c.cfg.Accounts[account].ID
	l := &modelTarget{name: TargetName(a, f.Name, key), account: account, weight: 1, back: math.Inf(1), off: true}
	l.index, l.modelCursor = len(c.targets[group]), c.poolModel.targets[l.name]
	l.blocks = slices.Compact([]string{AccountBlock(a, ""), AccountBlock(a, f.Name)})
	for _, k := range keys {
		l.keyNames, l.weight = append(l.keyNames, k.ID), max(l.weight, k.Weight)
	}
	for _, i := range f.Limits {
		l.counters = append(l.counters, c.counter(i, map[LimitScope]string{PerAccount: a, PerKey: key}[c.cfg.Limits[i].Scope]))
	}
	c.openKeys(l)
	c.targets[group] = append(c.targets[group], l)
}

func (c *modelCall) openKeys(l *modelTarget) {
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
	l.trials = l.trials[:len(l.trials)-1]
	names := []string{KeyBlock(l.keyNames[key])}
	if l.trial {
		l.trials = nil
		names = append(names, l.blocks...)
	}
	for _, name := range slices.Compact(names) {
		if b, trial := c.block(name); trial {
			c.blocks[name] = modelBlock{c.now + 60, true, b.reason}
		}
	}
	return key, true
}
