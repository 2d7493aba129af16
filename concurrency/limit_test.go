package concurrency

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/scripts"
	"github.com/redis/go-redis/v9"
)

// A raised limit serves the waiters of every process. A lowered limit takes no lease; the excess drains.
func TestSetLimit_TakesEffectInAllProcesses(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		a, b := newTest(t, rdb, Config{Limit: 1}), newTest(t, rdb, Config{Limit: 1})
		held := acquire(t, a, 1)
		here, there := queued(t, a, testkit.Context(t), 1), queued(t, b, testkit.Context(t), 1)
		known(t, b, 1)
		if err := a.SetLimit(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		x, y := take(t, here), take(t, there)
		if err := b.SetLimit(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		next := queued(t, b, testkit.Context(t), 1)
		known(t, b, 1)
		held.Release()
		x.Release()
		testkit.Eventually(t, "the excess has drained", func() bool { sum, _ := allocated(t, b); return sum == 1 })
		none(t, next)
		y.Release()
		take(t, next).Release()
	})
}

// With a limit of zero no request is granted. The waiters are served when the limit is raised.
func TestSetLimit_ZeroStopsGrants(t *testing.T) {
	s := newTest(t, redistest.Client(t), Config{Limit: 1})
	if err := s.SetLimit(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	got := queued(t, s, testkit.Context(t), 1)
	known(t, s, 1)
	none(t, got)
	if err := s.SetLimit(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	take(t, got).Release()
	if s.SetLimit(t.Context(), -1) == nil {
		t.Error("SetLimit(-1): got no error, want one")
	}
}

// A waiting request that is larger than a lowered limit fails.
func TestSetLimit_RefusesLargerWaiters(t *testing.T) {
	rdb := redistest.Client(t)
	a, b := newTest(t, rdb, Config{Limit: 3}), another(t, rdb, Config{Limit: 3})
	held := acquire(t, a, 1)
	large := queued(t, b, testkit.Context(t), 3)
	if err := a.SetLimit(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	refused(t, large, ErrNeverFits)
	held.Release()
}

// Among processes with different limits, the highest version counts, and within a version the lowest limit while a process
// with it is active. After a flush the processes restore a limit that was set.
func TestLimitVersion_OrdersLimits(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	limit := func(cfg Config) *Semaphore {
		t.Helper()
		s := newTest(t, rdb, cfg)
		l := acquire(t, s, 1)
		t.Cleanup(l.Release)
		return s
	}
	check := func(s *Semaphore, want int) {
		t.Helper()
		if _, st := allocated(t, s); st.Ceiling != want || st.Limit != want {
			t.Errorf("limit and ceiling: got %d and %d, want %d", st.Limit, st.Ceiling, want)
		}
	}
	old := limit(Config{Limit: 10})
	check(old, 10)
	check(limit(Config{Limit: 5}), 5) // lower, no version
	check(limit(Config{Limit: 21}), 5)
	check(limit(Config{Limit: 7, LimitVersion: 1}), 7)
	check(limit(Config{Limit: 2}), 7) // older
	if err := old.SetLimit(t.Context(), 12); err != nil {
		t.Fatal(err)
	}
	check(old, 12)
	testkit.Eventually(t, "the process knows the limit", func() bool {
		old.mu.Lock()
		defer old.mu.Unlock()
		return old.session.version == 2
	})
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	acquire(t, old, 2).Release()
	testkit.Eventually(t, "the limit is restored", func() bool { _, st := allocated(t, old); return st.Limit == 12 })
}

// Inspect lists the sessions of all processes. Revoke ends the leases of one, which may acquire again.
func TestRevoke_EndsTheLeasesOfASession(t *testing.T) {
	rdb := redistest.Client(t)
	a, b := newTest(t, rdb, Config{Limit: 3, SessionName: "pod a"}), another(t, rdb, Config{Limit: 3, SessionName: "pod b"})
	held := acquire(t, a, 2)
	ctx := held.Context()
	got := queued(t, b, testkit.Context(t), 3)
	known(t, b, 3)
	st, err := b.Inspect(t.Context())
	if err != nil || st.Limit != 3 || len(st.Sessions) != 2 {
		t.Fatalf("Inspect: got %+v and %v, want a limit of 3 and 2 sessions", st, err)
	}
	for _, x := range st.Sessions {
		want := SessionState{ID: a.Session(), Name: "pod a", Allocated: 2, Held: 2}
		if x.ID == b.Session() {
			want = SessionState{ID: b.Session(), Name: "pod b", Waiting: 3}
		}
		if x.Expires <= 0 || x.Expires > DefaultSessionTTL || x.Age < 0 || x.Age > time.Minute {
			t.Errorf("age and expiry: got %v and %v, want at most a minute and %v", x.Age, x.Expires, DefaultSessionTTL)
		}
		x.Age, x.Expires = 0, 0
		if x != want {
			t.Errorf("got %+v, want %+v", x, want)
		}
	}
	if found, err := b.Revoke(t.Context(), a.Session()); err != nil || !found {
		t.Fatalf("Revoke: got %v and %v, want true and nil", found, err)
	}
	l := take(t, got)
	if !errors.Is(held.Err(), ErrLeaseLost) || ctx.Err() == nil {
		t.Errorf("the lease of the revoked session: got %v, want %v", held.Err(), ErrLeaseLost)
	}
	held.Release()
	l.Release()
	acquire(t, a, 3).Release()
	if found, err := b.Revoke(t.Context(), "unknown"); err != nil || found {
		t.Errorf("Revoke of an unknown session: got %v and %v, want false and nil", found, err)
	}
}

// A revoked session that doesn't report keeps its permits until its end.
func TestRevoke_OfHungProcessTakesATTL(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	a := newTest(t, f.Client(t, server.Options()), Config{Limit: 1, SessionTTL: time.Second})
	b := newTest(t, server.Client(t), Config{Limit: 1, SessionTTL: time.Second})
	held := acquire(t, a, 1)
	f.Blackhole()
	if _, err := b.Revoke(t.Context(), a.Session()); err != nil {
		t.Fatal(err)
	}
	l := acquire(t, b, 1)
	if !errors.Is(held.Err(), ErrLeaseLost) {
		t.Errorf("the lease of the revoked session: got %v, want %v", held.Err(), ErrLeaseLost)
	}
	l.Release()
	f.Heal()
}

// An idle process has no state in Redis. The generation of the semaphore's state expires.
func TestIdleProcess_LeavesNoState(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newTest(t, rdb, Config{Limit: 5})
		acquire(t, s, 3).Release()
		testkit.Eventually(t, "the HASH has the generation alone", func() bool {
			return slices.Equal(rdb.HKeys(t.Context(), scripts.SemaphoreKey("test")).Val(), []string{"g"})
		})
		if ttl := rdb.PTTL(t.Context(), scripts.SemaphoreKey("test")).Val(); ttl <= 0 || ttl > 15*time.Minute {
			t.Errorf("the generation expires: got in %v, want in at most 15m", ttl)
		}
		acquire(t, s, 5).Release()
	})
}

// Inspect, SetLimit and Revoke return when their context ends, also while Redis hangs.
func TestAdministration_ObeysItsContext(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := newTest(t, server.Client(t), Config{Limit: 4})
	acquire(t, s, 1).Release()
	server.Pause()
	defer server.Resume()
	for name, call := range map[string]func(ctx context.Context) error{
		"Inspect":  func(ctx context.Context) error { _, err := s.Inspect(ctx); return err },
		"SetLimit": func(ctx context.Context) error { return s.SetLimit(ctx, 3) },
		"Revoke":   func(ctx context.Context) error { _, err := s.Revoke(ctx, "x"); return err },
	} {
		start := time.Now()
		err := call(testkit.ContextFor(t, 50*time.Millisecond))
		if took := time.Since(start); !errors.Is(err, ErrDeadline) || took > 2*time.Second {
			t.Errorf("%s with a deadline of 50ms: got %v after %v, want %v at once", name, err, took, ErrDeadline)
		}
	}
}
