package scripts

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// The model of semaphore_loss.lua in plain Go, on one server without listeners.

// lossModel is the last loss of writes.
type lossModel struct {
	written     bool // it has a field
	lost, found int64
	till        int64
	known, asOf int64
	rows        int64
	reported    []string
}

const (
	keepGeneration = 900_000 // ms
	grace          = 250
)

func (m *semModel) heldUp(now int64) bool {
	return m.loss.till > now && m.loss.till <= now+m.header.ttl
}

// newlyLost reports whether the session has seen state that is gone, and no session has found it yet.
func (m *semModel) newlyLost(e SemaphoreVersion, row *semRow, now int64) bool {
	switch e.Generation {
	case 0:
		return false
	case m.generation:
		return e.Version > m.version || e.Seq > 0 && (row == nil || row.seq < e.Seq)
	case m.loss.lost, m.loss.found:
		return false
	}
	return e.Seq > 0 || float64(now)-float64(e.Version)/1000 < keepGeneration
}

// checkLoss is check_loss. row is the session's field, also if the session has ended; found: it hasn't.
func (m *semModel) checkLoss(r *SemaphoreReport, row *semRow, found, active bool, now int64) {
	if len(m.loss.reported) > 0 && !m.heldUp(now) {
		m.loss.known, m.loss.rows, m.loss.reported = 0, 0, nil
	}
	e := r.Expected
	switch {
	case m.newlyLost(e, row, now):
		if !m.heldUp(now) || m.loss.known+m.loss.rows == 0 || e.Generation == m.generation {
			longest := m.header.ttl / 3
			if e.Sessions+int64(len(m.rows)) == 0 {
				longest = min(longest, grace)
			}
			m.loss = lossModel{
				written: true, lost: e.Generation, found: m.generation, till: now + longest,
				known: e.Sessions, asOf: e.Version, rows: int64(len(m.rows)),
			}
			m.generation = max(now*1000, m.generation+1, e.Generation+1)
		}
	case m.generation == 0 && active:
		m.generation = now * 1000
	}
	if m.heldUp(now) && m.loss.known+m.loss.rows > 0 && e.Generation != m.generation {
		m.noteReport(r, found)
	}
}

// noteReport counts the first report of a session since the loss.
func (m *semModel) noteReport(r *SemaphoreReport, found bool) {
	l := &m.loss
	if r.Expected.Version > l.asOf {
		l.known, l.asOf = r.Expected.Sessions, r.Expected.Version
	}
	if (found || r.Expected.Seq > 0) && !slices.Contains(l.reported, r.Session) {
		l.reported = append(l.reported, r.Session)
		if !found {
			l.rows++
		}
	}
	if n := int64(len(l.reported)); n >= max(l.known, l.rows) {
		l.till, l.known, l.rows, l.reported = min(l.till, m.generation/1000+grace), 0, 0, nil
	}
}

// wrote counts a write.
func (m *semModel) wrote(now int64) {
	if m.generation > 0 {
		m.version = max(now*1000, m.version+1)
	}
}

// state is what a reply says of the state.
func (m *semModel) state(r *SemaphoreReport, sessions int64) SemaphoreVersion {
	v := SemaphoreVersion{Generation: m.generation, Version: m.version, Sessions: sessions}
	if r.Alloc > 0 || r.Want != [3]int64{} {
		v.Seq = r.Seq
	}
	return v
}

// encode is field i.
func (l *lossModel) encode() string {
	var ids strings.Builder
	for _, id := range l.reported {
		ids.WriteString(id + " ")
	}
	return fmt.Sprintf("%d %d %d %d %d %d %s", l.lost, l.found, l.till, l.known, l.asOf, l.rows, &ids)
}

// clone returns a copy that shares nothing with m.
func (m *semModel) clone() *semModel {
	other := *m
	if m.header != nil {
		h := *m.header
		other.header = &h
	}
	if m.adaptive != nil {
		a := *m.adaptive
		other.adaptive = &a
	}
	other.rows = nil
	for _, r := range m.rows {
		row := *r
		other.rows = append(other.rows, &row)
	}
	other.loss.reported = slices.Clone(m.loss.reported)
	return &other
}

// snapshot is the state at some time, to which a server that loses writes returns.
type snapshot struct {
	fields map[string]string
	model  *semModel
}

// lose takes the snapshot (how 0), or loses all (1), or the writes since the snapshot. It returns the model after it.
func (s *snapshot) lose(t *testing.T, rdb *redis.Client, name string, model *semModel, how byte) *semModel {
	t.Helper()
	key := SemaphoreKey(name)
	if how == 0 {
		s.fields, s.model = rdb.HGetAll(t.Context(), key).Val(), model.clone()
		return model
	}
	rdb.Del(t.Context(), key)
	if how == 1 || len(s.fields) == 0 {
		return &semModel{}
	}
	rdb.HSet(t.Context(), key, s.fields)
	rdb.PExpire(t.Context(), key, time.Hour)
	return s.model.clone()
}
