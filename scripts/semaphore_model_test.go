package scripts

import (
	"reflect"
	"slices"
)

// The model of the semaphore's scripts in plain Go. Times are milliseconds since 2017, as far as they are kept.

// semRow is a session.
type semRow struct {
	id                            string
	ends, turn, alloc, held, need int64
	want                          [3]int64
	revoked, notified             bool // notified to ask, and it hasn't done so yet
	seq, ttl, begin               int64
	name                          string
}

type semHeader struct{ limit, version, till, ttl int64 }

type semModel struct {
	header   *semHeader
	adaptive *adaptiveModel
	rows     []*semRow // in the order of their turns

	generation, version int64
	loss                lossModel
}

func (m *semModel) row(id string) *semRow {
	for _, r := range m.rows {
		if r.id == id {
			return r
		}
	}
	return nil
}

func (m *semModel) drop(id string) {
	m.rows = slices.DeleteFunc(m.rows, func(r *semRow) bool { return r.id == id })
}

// configure takes in a reported limit.
func (m *semModel) configure(now int64, r *SemaphoreReport) semHeader {
	ttl := r.TTL.Milliseconds()
	if m.header == nil || r.Version > m.header.version {
		h := semHeader{limit: r.Limit, version: r.Version, till: now + ttl, ttl: ttl}
		if m.header != nil {
			h.ttl = max(ttl, m.header.ttl)
		}
		return h
	}
	h := *m.header
	if r.Version == h.version {
		expired := now >= h.till || h.till > now+h.ttl
		if r.Limit < h.limit || expired || (r.Limit == h.limit && 2*(h.till-now) < ttl) {
			h.limit, h.till = r.Limit, now+ttl
		}
	}
	h.ttl = max(h.ttl, ttl)
	return h
}

// report is semaphore.lua.
func (m *semModel) report(r *SemaphoreReport) (*SemaphoreReply, error) {
	now, before := r.Now/1000, m.clone()
	if r.Deadline > 0 && r.Now > r.Deadline {
		return &SemaphoreReply{Now: r.Now}, ErrLate
	}
	mine := semRow{id: r.Session, begin: now, turn: now, seq: r.Seq, ttl: r.TTL.Milliseconds(), name: r.Name}
	var had int64
	waited, revoked := false, false
	old := m.row(r.Session)
	if old != nil {
		if r.Seq <= old.seq {
			return &SemaphoreReply{Now: r.Now}, ErrStale
		}
		if old.ends > now {
			mine.begin, mine.turn, had, waited, revoked = old.begin, old.turn, old.alloc, old.need > 0, old.revoked
			mine.turn = min(mine.turn, now)
		}
	}
	h := m.configure(now, r)
	if revoked && r.Alloc > 0 {
		n := int64(0)
		for _, o := range m.rows {
			if o.ends > now {
				n++
			}
		}
		limit := h.limit
		if m.adaptive != nil {
			limit = min(limit, int64(m.adaptive.limit))
		}
		return &SemaphoreReply{Now: r.Now, Revoked: true, Limit: limit, Ceiling: h.limit, Version: h.version,
			Sessions: n, Share: -1, Again: -1e6}, nil
	}
	m.header = &h
	m.prune(now)
	active := r.Alloc > 0 || r.Want != [3]int64{}
	m.checkLoss(r, old, m.row(r.Session) != nil, active, now)
	if p := r.Adaptive; p != nil {
		used := p.Peak
		for _, o := range m.rows {
			if o.id != r.Session {
				used += o.alloc
			}
		}
		if m.adaptive == nil {
			m.adaptive = &adaptiveModel{limit: float64(p.Initial), since: r.Now}
		}
		m.adaptive.adapt(p, used, h.limit, r.Now)
	}
	mine.ends, mine.alloc, mine.held, mine.need, mine.want = now+mine.ttl, r.Alloc, r.Held, r.Need, r.Want
	fresh := r.Need > 0 && (!waited || r.Alloc < had)
	switch at := slices.Index(m.rows, old); {
	case !active:
		m.drop(r.Session)
	case at >= 0 && !fresh:
		m.rows[at] = &mine
	default:
		m.renew(&mine, now)
	}
	reply := m.settle(r, &mine, had, now)
	if active || r.Adaptive != nil || !reflect.DeepEqual(before, m.clone()) {
		m.wrote(now)
	}
	reply.State = m.state(r, reply.Sessions)
	return reply, nil
}

// renew begins a session's turn.
func (m *semModel) renew(r *semRow, now int64) {
	m.drop(r.id)
	r.turn = now
	m.rows = append(m.rows, r)
}

// prune drops ended sessions, and corrects times that a clock set back makes impossible.
func (m *semModel) prune(now int64) {
	m.rows = slices.DeleteFunc(m.rows, func(r *semRow) bool { return r.ends <= now })
	for _, o := range m.rows {
		o.ends, o.turn = min(o.ends, now+m.header.ttl), min(o.turn, now)
	}
}

// settle shares the limit, gives the reporting session what is free and due, and makes the reply.
func (m *semModel) settle(r *SemaphoreReport, mine *semRow, had, now int64) *SemaphoreReply {
	limit := m.limitNow()
	var all []*sharer
	var me *sharer
	var used int64
	for _, o := range m.rows {
		s := &sharer{alloc: o.alloc, need: o.need, turn: o.turn, want: o.want}
		if o == mine {
			me = s
		}
		all = append(all, s)
		used += o.alloc
	}
	contended := fairShares(limit, all, now)
	reply := &SemaphoreReply{Now: r.Now, Limit: limit, Ceiling: m.header.limit, Share: -1, Again: -1e6}
	reply.Version = m.header.version
	reply.Sessions = int64(len(all))
	free := limit - used
	rows := slices.Clone(m.rows)
	if me != nil {
		demand := mine.want[0] + mine.want[1] + mine.want[2]
		grant := min(demand, me.share, mine.alloc+limit-used-me.owed(all)) - mine.alloc
		if r.Need > 0 && grant > 0 && grant >= r.Need-(r.Alloc-r.Held) && !m.heldUp(now) {
			mine.alloc += grant
			mine.held += grant
			me.alloc = mine.alloc
			free -= grant
		}
		if mine.alloc > had {
			m.renew(mine, now)
		}
		reply.Alloc = mine.alloc
	}
	for _, s := range all {
		contended = contended || s.share > s.alloc
	}
	if contended {
		reply.Share = 0
		if me != nil {
			reply.Share = me.share
		}
	}
	if m.heldUp(now) {
		free = 0
	}
	tell(rows, all, me, free)
	if len(m.rows) == 0 && m.header.version == 0 && m.adaptive == nil {
		m.header = nil
	}
	return reply
}

// tell notes who is notified of free permits.
func tell(rows []*semRow, all []*sharer, me *sharer, free int64) {
	for i, s := range all {
		lacks := s.need
		if lacks > 1 {
			lacks -= s.alloc - rows[i].held
		}
		if free <= 0 || s == me || s.share <= s.alloc || lacks > free-s.owed(all) {
			continue
		}
		rows[i].notified = true
		free -= s.share - s.alloc
		s.alloc = s.share
	}
}
