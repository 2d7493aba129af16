package scripts

import (
	"errors"
	"fmt"
	"maps"
	"strings"
)

// What the HASH of a semaphore says, read in Go by the description at the head of semaphore_sessions.lua.

// compare returns how the HASH differs from the model.
func (m *semModel) compare(have map[string]string) error {
	rows, err := decodeSessions(have["q"])
	if err != nil || len(rows) != len(m.rows) {
		return fmt.Errorf("redis has %d sessions, the model %d: %w", len(rows), len(m.rows), err)
	}
	want := map[string]string{}
	for i, r := range m.rows {
		got := rows[i]
		if got.ends != r.ends || got.turn != r.turn || got.alloc != r.alloc || got.need != r.need && (r.need > 1 || got.need != 0) || got.want != r.want ||
			got.notified != 0 != r.notified {
			return fmt.Errorf("session %d\nredis: %+v\nmodel: %+v", i, got, r)
		}
		want["s"+r.id] = r.encode(got.ticket)
		want[fmt.Sprint("t", got.ticket)] = r.id
	}
	if m.adaptive != nil {
		want["a"] = m.adaptive.encode()
	}
	if h := m.header; h != nil {
		want["c"] = fmt.Sprintf("%d %d %d %d", h.limit, h.version, h.till, h.ttl)
	}
	if m.generation > 0 {
		want["g"] = fmt.Sprintf("%d %d ", m.generation, m.version)
	}
	if g := have["g"]; g != "" {
		have["g"] = g[:strings.LastIndex(g, " ")+1] // the replication ID is the server's
	}
	if m.loss.written {
		want["i"] = m.loss.encode()
	}
	delete(have, "q")
	if !maps.Equal(have, want) {
		return fmt.Errorf("redis: %q\nmodel: %q", have, want)
	}
	return nil
}

// encode returns what only the session itself asks for.
func (r *semRow) encode(ticket int64) string {
	revoked := 0
	if r.revoked {
		revoked = 1
	}
	return fmt.Sprintf("%d %d %d %d %d %d %s", revoked, min(r.need, 1), r.seq, r.begin, ticket, r.held, r.name)
}

// reader reads a text from its beginning.
type reader struct {
	rest string
	err  error
}

func (r *reader) next(size int) string {
	if size > len(r.rest) {
		r.err = fmt.Errorf("the text ends %d bytes too early", size-len(r.rest))
		size = len(r.rest)
	}
	entry := r.rest[:size]
	r.rest = r.rest[size:]
	return entry
}

func (r *reader) number() (n int64) {
	for i, b := range []byte(r.next(5)) {
		n += int64(b) << (8 * i)
	}
	return n
}

// sessionColumns is what q says of a session.
type sessionColumns struct {
	ends, turn, ticket, alloc, need, notified int64
	want                                      [3]int64
}

// decodeSessions returns the sessions in text.
func decodeSessions(text string) ([]sessionColumns, error) {
	if text == "" {
		return nil, nil
	}
	r := &reader{rest: text}
	earliest, latest, ticket := r.number(), r.number(), r.number()
	sizes, sum := make([]int, 6), 0
	for kind := range sizes {
		for _, b := range []byte(r.next(1)) {
			sizes[kind] = int(b)
		}
		sum += sizes[kind]
	}
	if kept := r.number(); kept < latest {
		return nil, fmt.Errorf("the HASH is kept until %d, and the last session ends at %d", kept, latest)
	}
	rows := make([]sessionColumns, len(r.rest)/(15+sum))
	for i := range rows {
		row := sessionColumns{ends: r.number(), turn: r.number(), ticket: r.number()}
		if row.ends < earliest || row.ends > latest || row.ticket > ticket {
			return nil, errors.New("a session's end or ticket is out of bounds")
		}
		if i > 0 && row.turn < rows[i-1].turn {
			return nil, errors.New("the sessions aren't in the order of their turns")
		}
		rows[i] = row
	}
	for kind, size := range sizes {
		for k := range size {
			for i := range rows {
				row := &rows[i]
				of := []*int64{&row.alloc, &row.need, &row.want[0], &row.want[1], &row.want[2], &row.notified}
				if b := r.next(1); b != "" {
					*of[kind] += int64(b[0]) << (8 * k)
				}
			}
		}
	}
	if r.rest != "" || len(rows) == 0 {
		return nil, fmt.Errorf("%d bytes are left of %q", len(r.rest), text)
	}
	return rows, r.err
}
