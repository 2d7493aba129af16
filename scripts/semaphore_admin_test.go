package scripts

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// administer plays one of the operator's calls against Redis and the model.
func administer(t *testing.T, rdb *redis.Client, model *semModel, name, id string, now int64, data []byte) error {
	switch {
	case data[1] >= 250:
		found, err := revokeAt(t, rdb, name, id, now)
		if want := model.revoke(id, now/1000); err != nil || found != want {
			return fmt.Errorf("revoke %s: %v, %w; want %v", id, found, err, want)
		}
	case data[1] >= 248:
		limit, known := int64(data[4]%16), int64(data[5]%8)
		v, err := semaphoreLimitScript.run(t.Context(), rdb, []string{SemaphoreKey(name)}, []any{seconds(now), limit, known})
		if want := model.setLimit(limit, known, now/1000); err != nil || v != want {
			return fmt.Errorf("limit %d: version %v, %w; want %d", limit, v, err, want)
		}
	}
	got, err := inspectAt(t, rdb, name, now)
	want := model.inspect(now / 1000)
	if err != nil || !slices.Equal(got.Sessions, want.Sessions) || got.Limit != want.Limit ||
		got.Ceiling != want.Ceiling || got.Version != want.Version {
		return fmt.Errorf("inspect: %w\nredis: %+v\nmodel: %+v", err, got, want)
	}
	return model.compare(rdb.HGetAll(t.Context(), SemaphoreKey(name)).Val())
}

func revokeAt(t *testing.T, rdb *redis.Client, name, id string, now int64) (bool, error) {
	v, err := semaphoreRevokeScript.run(t.Context(), rdb, []string{SemaphoreKey(name)}, []any{seconds(now), id})
	return v == int64(1), err
}

func inspectAt(t *testing.T, rdb *redis.Client, name string, now int64) (*SemaphoreState, error) {
	v, err := semaphoreInspectScript.run(t.Context(), rdb, []string{SemaphoreKey(name)}, []any{seconds(now)})
	if err != nil {
		return nil, err
	}
	return decodeSemaphore(v)
}

// revoke is semaphore_revoke.lua.
func (m *semModel) revoke(id string, now int64) bool {
	r := m.row(id)
	if r == nil || r.ends <= now {
		return false
	}
	r.revoked = true
	return true
}

// setLimit is semaphore_limit.lua.
func (m *semModel) setLimit(limit, known, now int64) int64 {
	h := semHeader{limit: limit, version: known + 1, till: now}
	if m.header != nil {
		h.version, h.ttl = max(known, m.header.version)+1, m.header.ttl
		m.prune(now)
	}
	m.header = &h
	m.wrote(now)
	return h.version
}

// inspect is semaphore_inspect.lua. What the adaptive limit knows of latency isn't compared.
func (m *semModel) inspect(now int64) *SemaphoreState {
	if m.header == nil {
		return &SemaphoreState{Limit: -1, Ceiling: -1}
	}
	state := &SemaphoreState{Limit: m.limitNow(), Ceiling: m.header.limit, Version: m.header.version}
	for _, r := range m.rows {
		if r.ends <= now {
			continue
		}
		ends := min(r.ends, now+m.header.ttl)
		state.Sessions = append(state.Sessions, SemaphoreSession{
			ID: r.id, Name: r.name, Age: time.Duration(now-r.begin) * time.Millisecond,
			Expires: time.Duration(ends-now) * time.Millisecond, Alloc: r.alloc, Held: r.held,
			Waiting: r.want[0] + r.want[1] + r.want[2] - r.held, Revoked: r.revoked,
		})
	}
	return state
}

// Many sessions, and numbers of several bytes: the columns are read in pieces, and are widened as need be. Not on
// miniredis, whose Lua takes minutes for it under the race detector.
func TestSemaphore_SharesAmongManySessions(t *testing.T) {
	rdb := redistest.Client(t)
	model, now := &semModel{}, int64(semStart)
	for i := range 560 {
		now += 1000
		n := int64(1 + i*i%90)
		if i%100 == 7 {
			n *= 70_001 // three bytes
		}
		r := &SemaphoreReport{
			Session: fmt.Sprint("session-", i%505), Seq: int64(i + 1), TTL: time.Minute, Limit: 40_000_000 % SemaphoreMost, Now: now,
			Need: 1 + n/3, Want: [3]int64{0, n, 0}, Name: "many",
		}
		if i%300 == 11 {
			r.Want = [3]int64{n, 0, 0}
		}
		if old := model.row(r.Session); old != nil {
			r.Held, r.Alloc = old.alloc/2, old.alloc/2
			r.Want[1] += r.Held
		}
		compareReport(t, rdb, model, "many", r)
		if i%199 == 0 || i > 550 {
			compareHash(t, rdb, model, "many", i, r)
		}
	}
	state, err := inspectAt(t, rdb, "many", now)
	if want := model.inspect(now / 1000); err != nil || !slices.Equal(state.Sessions, want.Sessions) {
		t.Errorf("inspect: %v, or %d sessions aren't the model's %d", err, len(state.Sessions), len(want.Sessions))
	}
}

// A number that isn't whole is refused before anything is written, so that the semaphore stays usable.
func TestSemaphore_RefusesNumbersThatAreNotWhole(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		keys := []string{SemaphoreKey("clock")}
		h := &holder{t: t, rdb: rdb, id: "a"}
		h.report(semStart, 0, 1)
		before := rdb.HGetAll(t.Context(), keys[0]).Val()
		for _, bad := range []string{"nan", "inf", "-1", "1.5", "1e300", "four", ""} {
			if _, err := semaphoreLimitScript.run(t.Context(), rdb, keys, []any{"", bad, 0}); OutcomeOf(err) != Rejected {
				t.Errorf("a limit of %q: got %v, want %v", bad, err, Rejected)
			}
			for arg := 4; arg <= 13; arg++ {
				args := (&SemaphoreReport{Session: "b", Seq: 9, TTL: time.Second, Limit: 4, Need: 1, Now: semStart + 1e6}).args()
				args[arg-1] = bad
				if _, err := semaphoreScript.run(t.Context(), rdb, keys, args); err == nil {
					t.Errorf("argument %d of a report is %q: got no error, want one", arg, bad)
				}
			}
		}
		if after := rdb.HGetAll(t.Context(), keys[0]).Val(); !maps.Equal(before, after) {
			t.Errorf("the HASH: got %q, want %q", after, before)
		}
		h.report(semStart+2e6, 0, 1)
	})
}
