package concurrency

import (
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// A limit that is raised serves those that wait, in every process; one that is lowered takes nothing, and drains.
func TestLimitChangesLive(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		a, b := newTest(t, rdb, 1), newTest(t, rdb, 1)
		held := acquire(t, a, 1)
		here, there := queued(t, a, bounded(t), 1), queued(t, b, bounded(t), 1)
		known(t, b, 1)
		if err := a.SetLimit(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		x, y := take(t, here), take(t, there)
		if err := b.SetLimit(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		next := queued(t, b, bounded(t), 1)
		known(t, b, 1)
		held.Release()
		x.Release()
		eventually(t, "the limit has drained", func() bool { sum, _ := allocated(t, b); return sum == 1 })
		none(t, next)
		y.Release()
		take(t, next).Release()
	})
}

// The limit of zero stops everything; what waits goes on when it is raised.
func TestLimitZero(t *testing.T) {
	s := newTest(t, redistest.Client(t), 1)
	if err := s.SetLimit(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	got := queued(t, s, bounded(t), 1)
	known(t, s, 1)
	none(t, got)
	if err := s.SetLimit(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	take(t, got).Release()
	if s.SetLimit(t.Context(), -1) == nil {
		t.Error("a negative limit was accepted")
	}
}

// A request that a lowered limit can never serve fails instead of waiting for ever.
func TestLimitFallsBelowRequest(t *testing.T) {
	rdb := redistest.Client(t)
	a, b := newTest(t, rdb, 3), another(t, rdb, 3)
	held := acquire(t, a, 1)
	large := queued(t, b, bounded(t), 3)
	if err := a.SetLimit(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	refused(t, large, ErrTooLarge)
	held.Release()
}

// Processes configured with different limits: the higher version counts, and of the same version the lowest limit,
// while anybody has it. A limit that was set outlives Redis' memory in the processes.
func TestLimitVersions(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	limit := func(want int, opts ...Option) *Semaphore {
		t.Helper()
		s := newTest(t, rdb, want+1, opts...)
		l := acquire(t, s, 1)
		t.Cleanup(l.Release)
		return s
	}
	check := func(s *Semaphore, want int) {
		t.Helper()
		if _, st := allocated(t, s); st.Ceiling != want || st.Limit != want {
			t.Errorf("the limit is %d of %d, want %d", st.Limit, st.Ceiling, want)
		}
	}
	old := limit(9)
	check(old, 10)
	check(limit(4), 5) // lower, no version
	check(limit(20), 5)
	check(limit(6, WithVersion(1)), 7)
	check(limit(1, WithVersion(0)), 7) // older
	if err := old.SetLimit(t.Context(), 12); err != nil {
		t.Fatal(err)
	}
	check(old, 12)
	eventually(t, "it is known in the process", func() bool {
		old.mu.Lock()
		defer old.mu.Unlock()
		return old.session.version == 2
	})
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	acquire(t, old, 2).Release()
	eventually(t, "the limit is restored", func() bool { _, st := allocated(t, old); return st.Limit == 12 })
}

func TestInspectAndRevoke(t *testing.T) {
	rdb := redistest.Client(t)
	a, b := newTest(t, rdb, 3, WithSession("pod a")), another(t, rdb, 3, WithSession("pod b"))
	held := acquire(t, a, 2)
	ctx := held.Context()
	got := queued(t, b, bounded(t), 3)
	known(t, b, 3)
	st, err := b.Inspect(t.Context())
	if err != nil || st.Limit != 3 || len(st.Sessions) != 2 {
		t.Fatalf("%+v, %v", st, err)
	}
	for _, x := range st.Sessions {
		want := SessionState{ID: a.Session(), Name: "pod a", Allocated: 2, Held: 2}
		if x.ID == b.Session() {
			want = SessionState{ID: b.Session(), Name: "pod b", Waiting: 3}
		}
		if x.Expires <= 0 || x.Expires > DefaultTTL || x.Age < 0 || x.Age > time.Minute {
			t.Errorf("age %v, expires in %v", x.Age, x.Expires)
		}
		x.Age, x.Expires = 0, 0
		if x != want {
			t.Errorf("got %+v, want %+v", x, want)
		}
	}
	if found, err := b.Revoke(t.Context(), a.Session()); err != nil || !found {
		t.Fatal(found, err)
	}
	l := take(t, got)
	if !errors.Is(held.Err(), ErrLeaseLost) || ctx.Err() == nil {
		t.Errorf("its session was revoked, and the lease says %v", held.Err())
	}
	held.Release()
	l.Release()
	acquire(t, a, 3).Release() // it may come again
	if found, err := b.Revoke(t.Context(), "nobody"); err != nil || found {
		t.Error("found", found, err)
	}
}

// A revoked session that doesn't answer keeps its permits until its end, and then they are free.
func TestRevokeOfHungProcess(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	a := newTest(t, f.Client(t, server.Options()), 1, WithTTL(time.Second))
	b := newTest(t, server.Client(t), 1, WithTTL(time.Second))
	held := acquire(t, a, 1)
	f.Blackhole()
	if _, err := b.Revoke(t.Context(), a.Session()); err != nil {
		t.Fatal(err)
	}
	l := acquire(t, b, 1)
	if !errors.Is(held.Err(), ErrLeaseLost) {
		t.Errorf("the permit is another's, and the lease says %v", held.Err())
	}
	l.Release()
	f.Heal()
}

// An idle process leaves nothing behind.
func TestIdleLeaves(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newTest(t, rdb, 5)
		acquire(t, s, 3).Release()
		eventually(t, "the HASH is gone", func() bool {
			return len(rdb.Keys(t.Context(), "*").Val()) == 0
		})
		acquire(t, s, 5).Release()
	})
}
