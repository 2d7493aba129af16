package scripts

import (
	"math"
	"time"
)

// Constants of the script.
const (
	modelKeep   = 900 // seconds
	modelIdle   = 5
	modelServed = 8 // sessions
)

// poolModel is what the pool's script does, in Go, without Redis: the same arithmetic in the same order. Sums over
// sessions, which the script keeps, are worked out from the sessions each time.
type poolModel struct {
	counters map[string]modelCounterState
	used     map[string]modelCount
	rounds   map[string]modelCursor // by target
	blocks   map[string]modelBlock
	sessions map[string]*modelSession
	adaptive map[string]*adaptiveModel // by account
	idle     map[string]float64        // by account
	round    float64

	origin, generation, version int64
	offset, sweepAt, hold       float64
	first, last                 int64 // tickets
	loss                        modelLoss
	limits                      LimitsError // that rule
}

// modelLoss is the last loss of state that a session found.
type modelLoss struct {
	survived, until, gone, began int64
	expected, called             int
}

type modelCount struct{ end, used float64 }

type modelCursor struct {
	next int
	pass float64
}

type modelSession struct {
	end, turn     float64
	seq, version  int64
	waiting, want int
	aside         int
	ticket        int64
	held          map[string]int
}

func (s *modelSession) sum() (n int) {
	for _, held := range s.held {
		n += held
	}
	return n
}

func (s *modelSession) leased() bool { return s.waiting > 0 || s.sum() > 0 }

func newPoolModel() *poolModel {
	return &poolModel{
		counters: map[string]modelCounterState{},
		used:     map[string]modelCount{},
		rounds:   map[string]modelCursor{},
		blocks:   map[string]modelBlock{},
		sessions: map[string]*modelSession{},
		adaptive: map[string]*adaptiveModel{},
		idle:     map[string]float64{},
		first:    1,
	}
}

// modelCall is one call on its way through the model.
type modelCall struct {
	*poolModel
	cfg                      *PoolConfig
	call                     *PoolCall
	name                     string
	own                      *modelSession // nil: none
	wall, now, horizon, turn float64
	ran                      int64 // seq of the session's last call that did
	counters                 map[string]*modelCounter
	targets                  map[int][]*modelTarget // by group
	accounts                 []*modelAccount
	samples                  map[int]*PoolReport // by account
	shares, fair, free       int
	contenders, queue, aside int // of other sessions
	reported, holding        int // permits of this session
	contended                bool
	wake                     float64
	poll                     bool
	binding, delayed         int
	reply                    *PoolReply
}

// modelAccount is an account during one call.
type modelAccount struct {
	id                          string
	most, permits, held, others int
	ready                       bool
}

func (a *modelAccount) taken() int { return a.others + a.held }

func (m *poolModel) nextVersion(now float64) int64 {
	return max(m.version+1, int64(math.Floor(now*1e6)))
}

func (m *poolModel) admit(cfg *PoolConfig, p *PoolCall) (*PoolReply, error) {
	c := &modelCall{
		poolModel: m, cfg: cfg, call: p, name: cfg.Session, wall: float64(p.Now) / 1e6, horizon: cfg.Horizon.Seconds(),
		counters: map[string]*modelCounter{}, targets: map[int][]*modelTarget{}, samples: map[int]*PoolReport{},
		wake: math.Inf(1), binding: ConstraintNone, delayed: ConstraintNone,
		reply: &PoolReply{Now: p.Now, Grants: []PoolGrant{}},
	}
	if p.Deadline > 0 && p.Now > p.Deadline {
		return nil, ErrLate
	}
	offset := m.offset
	c.now = c.wall + offset
	if at := float64(m.version) / 1e6; at-c.now > 0.001 {
		c.now = at
		offset = c.now - c.wall
	}
	c.turn = c.now
	if own := m.sessions[c.name]; own != nil && (own.leased() || own.end > c.now) {
		c.own, c.turn, c.ran = own, max(c.now, own.turn), own.seq
	}
	if c.ran >= p.Seq {
		return nil, ErrStale
	}
	if err := c.findLoss(offset); err != nil {
		return nil, err
	}
	if err := c.followLimits(); err != nil {
		return nil, err
	}
	m.offset = offset
	if m.origin == 0 {
		m.origin = int64(math.Floor(c.now * 1e6))
		m.generation, m.sweepAt = m.origin, c.now+cfg.TTL.Seconds()
	}
	if c.now >= m.sweepAt {
		c.sweep()
	}
	if m.hold > c.now && (c.own == nil || c.own.version <= m.loss.began) {
		if m.loss.called++; m.loss.called >= m.loss.expected {
			m.hold = 0
		}
	}
	c.readAccounts()
	c.reports()
	c.countPermits()
	left := 0
	for i := range p.Demands {
		d := &p.Demands[i]
		over, why := c.demand(d)
		left += over
		if c.binding == ConstraintNone {
			c.binding = why
		}
		c.reply.Admitted = append(c.reply.Admitted, d.Count-over)
		c.reply.Blocked = append(c.reply.Blocked, why)
	}
	if c.contended && c.own != nil && c.own.sum() > c.reported {
		c.serveQueue(true)
	}
	c.save(left)
	c.answer(left)
	return c.reply, nil
}

// findLoss finds out whether state is lost that the session has seen.
func (c *modelCall) findLoss(offset float64) error {
	e := c.call.Expected
	var lost error
	switch {
	case e.Origin == 0:
	case e.Origin != c.origin:
		lost = ErrLostAll
	case e.Generation != c.generation:
		if e.Generation != c.loss.survived || e.Version > c.loss.until {
			lost = ErrLost
		}
	case e.Version > c.version, c.now-float64(e.Version)/1e6 < modelKeep && c.ran < e.Seq:
		lost = ErrLost
	}
	if lost == nil {
		return nil
	}
	all := e.Origin != c.origin
	if all && c.loss.gone == e.Generation || !all && e.Generation < c.generation {
		return lost
	}
	sessions := 1
	for name, s := range c.sessions {
		if name != c.name && s.leased() {
			sessions++
		}
	}
	loss := modelLoss{survived: c.generation, began: c.version, expected: max(e.Sessions, sessions)}
	if all {
		loss.until, loss.gone = c.version, e.Generation
	} else if c.own != nil {
		loss.until = c.own.version
	}
	c.poolModel.loss = loss
	c.poolModel.generation = max(int64(math.Floor(c.now*1e6)), c.generation+1, e.Generation+1)
	if c.origin == 0 {
		c.poolModel.origin = c.generation - 1
	}
	c.poolModel.offset = offset
	c.poolModel.hold = c.now + c.cfg.TTL.Seconds()/3
	c.poolModel.version = c.nextVersion(c.now)
	return lost
}

// sweep ends leases that are over.
func (c *modelCall) sweep() {
	sweepAt := c.now + c.cfg.TTL.Seconds()
	for name, s := range c.sessions {
		switch {
		case name == c.name:
		case s.end > c.now:
			if s.leased() {
				sweepAt = min(sweepAt, s.end)
			}
		case s.leased():
			*s = modelSession{end: c.now + modelKeep, turn: s.turn, seq: s.seq, version: s.version}
		default:
			delete(c.sessions, name)
		}
	}
	c.poolModel.sweepAt = max(sweepAt, c.now+c.cfg.TTL.Seconds()/100)
}

// readAccounts counts permits, and what other sessions wait for.
func (c *modelCall) readAccounts() {
	for i, a := range c.cfg.Accounts {
		account := &modelAccount{id: a.ID, most: c.cfg.permitsOf(i)}
		if c.limited() {
			account.held = c.call.Held[i]
		}
		c.accounts = append(c.accounts, account)
		c.reported += account.held
	}
	c.holding, c.shares = c.reported, 1
	for name, s := range c.sessions {
		if name == c.name {
			continue
		}
		if s.waiting > s.want {
			c.shares++
		}
		if s.want > 0 || s.sum() > 0 {
			c.contenders++
		}
		if s.ticket > 0 {
			c.queue++
		}
		c.aside += s.aside
		for _, a := range c.accounts {
			a.others += s.held[a.id]
		}
	}
}

// limited reports whether permits are.
func (c *modelCall) limited() bool { return c.cfg.permitsLimited() }

func (c *modelCall) answer(left int) {
	c.reply.Waiting, c.reply.Poll = c.shares-1, c.poll
	c.reply.Version = StateVersion{c.origin, c.generation, c.version, c.call.Seq, 0}
	for _, s := range c.sessions {
		if s.leased() {
			c.reply.Version.Sessions++
		}
	}
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

func (c *modelCall) save(left int) {
	for _, r := range c.counters {
		if r.charged {
			r.save(c.poolModel)
		}
	}
	s := &modelSession{turn: c.turn, seq: c.call.Seq, version: c.nextVersion(c.now), waiting: left, held: map[string]int{}}
	for _, a := range c.accounts {
		if a.held > 0 {
			s.held[a.id] = a.held
		}
	}
	switch {
	case c.binding == ConstraintPermits:
		s.want = left
	case c.poll:
		s.want = 1
	}
	if c.own != nil && c.own.ticket >= c.first {
		s.ticket = c.own.ticket
	}
	if s.want == 0 {
		s.ticket = 0
	} else if s.ticket == 0 {
		c.poolModel.last++
		s.ticket = c.last
	}
	s.end = c.now + modelKeep
	if s.leased() {
		s.end = c.now + c.cfg.TTL.Seconds()
	}
	c.sessions[c.name] = s
	c.poolModel.version = s.version
}
