package scripts

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// The model of the semaphore's scripts in plain Go. Times are milliseconds since 2017, turns microseconds.

type semRow struct {
	ends, turn, alloc, held, need int64
	want                          [3]int64
	revoked                       bool
	seq, ttl, begin               int64
	name                          string
}

type semHeader struct{ limit, version, till, ttl int64 }

type semModel struct {
	header   *semHeader
	adaptive *adaptiveModel
	rows     map[string]*semRow
}

func newSemModel() *semModel { return &semModel{rows: map[string]*semRow{}} }

// fields returns the HASH that Redis should have.
func (m *semModel) fields() map[string]string {
	out := map[string]string{}
	for id, r := range m.rows {
		out["s"+id] = r.encode("s" + id)
	}
	if m.adaptive != nil {
		out["a"] = m.adaptive.encode()
	}
	if h := m.header; h != nil {
		out["c"] = fmt.Sprintf("%d %d %d %d", h.limit, h.version, h.till, h.ttl)
	}
	return out
}

func (r *semRow) encode(field string) string {
	var out []byte
	put := func(n int64, size int) {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(n))
		out = append(out, b[8-size:]...)
	}
	put(r.ends, 5)
	put(r.turn, 7)
	put(r.alloc, 3)
	put(r.need, 3)
	put(r.want[1], 3)
	flags := int64(0)
	if r.revoked {
		flags++
	}
	if r.want[0]+r.want[2] > 0 {
		flags += 2
	}
	put(flags, 1)
	put(r.want[0], 3)
	put(r.want[2], 3)
	put(r.held, 3)
	put(r.seq, 6)
	put(r.ttl, 4)
	put(r.begin, 5)
	put(int64(len(field)), 2)
	return string(out) + field + r.name
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
	now := r.Now / 1000
	if r.Deadline > 0 && r.Now > r.Deadline {
		return &SemaphoreReply{Now: r.Now}, ErrLate
	}
	mine := semRow{begin: now, turn: r.Now, seq: r.Seq, ttl: r.TTL.Milliseconds(), name: r.Name}
	var had int64
	waited, revoked := false, false
	if old := m.rows[r.Session]; old != nil {
		if r.Seq <= old.seq {
			return &SemaphoreReply{Now: r.Now}, ErrStale
		}
		if old.ends > now {
			mine.begin, mine.turn, had, waited, revoked = old.begin, old.turn, old.alloc, old.need > 0, old.revoked
		}
	}
	h := m.configure(now, r)
	if revoked && r.Alloc > 0 {
		n := int64(1)
		for id, o := range m.rows {
			if id != r.Session && o.ends > now {
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
	if p := r.Adaptive; p != nil {
		used := p.Peak
		for id, o := range m.rows {
			if id != r.Session {
				used += o.alloc
			}
		}
		if m.adaptive == nil {
			m.adaptive = &adaptiveModel{limit: float64(p.Initial), since: r.Now}
		}
		m.adaptive.adapt(p, used, h.limit, r.Now)
	}
	if r.Need > 0 && (!waited || r.Alloc < had) {
		mine.turn = r.Now
	}
	mine.ends, mine.alloc, mine.held, mine.need, mine.want = now+mine.ttl, r.Alloc, r.Held, r.Need, r.Want
	delete(m.rows, r.Session)
	if active := r.Alloc > 0 || r.Want != [3]int64{}; active {
		m.rows[r.Session] = &mine
	}
	return m.settle(r, &mine, had, now), nil
}

// prune drops ended sessions and shortens those that end later than any TTL allows.
func (m *semModel) prune(now int64) {
	for id, o := range m.rows {
		if o.ends <= now {
			delete(m.rows, id)
		}
	}
	for _, o := range m.rows {
		o.ends = min(o.ends, now+m.header.ttl)
	}
}

// settle shares the limit, gives the reporting session what is free and due, and makes the reply.
func (m *semModel) settle(r *SemaphoreReport, mine *semRow, had, now int64) *SemaphoreReply {
	limit := m.limitNow()
	ids := slices.Sorted(maps.Keys(m.rows))
	var all []*sharer
	var me *sharer
	var used int64
	for _, id := range ids {
		o := m.rows[id]
		s := &sharer{alloc: o.alloc, need: o.need, turn: o.turn, want: o.want}
		if o == mine {
			me = s
		}
		all = append(all, s)
		used += o.alloc
	}
	pressed := fairShares(limit, all, r.Now)
	reply := &SemaphoreReply{Now: r.Now, Limit: limit, Ceiling: m.header.limit, Share: -1, Again: -1e6}
	reply.Version = m.header.version
	reply.Sessions = int64(len(all))
	if me != nil {
		demand := mine.want[0] + mine.want[1] + mine.want[2]
		grant := min(demand, me.share, mine.alloc+limit-used-me.owed(all)) - mine.alloc
		if r.Need > 0 && grant > 0 && grant >= r.Need-(r.Alloc-r.Held) {
			mine.alloc += grant
			mine.held += grant
			me.alloc = mine.alloc
		}
		if mine.alloc > had {
			mine.turn = r.Now
		}
		reply.Alloc = mine.alloc
	}
	for _, s := range all {
		pressed = pressed || s.share > s.alloc
	}
	if pressed {
		reply.Share = 0
		if me != nil {
			reply.Share = me.share
		}
	}
	if len(m.rows) == 0 && m.header.version == 0 && m.adaptive == nil {
		m.header = nil
	}
	return reply
}
