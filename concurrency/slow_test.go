package concurrency

import (
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// A Redis that replies within the TTL costs no lease, and the process grants its own permits without waiting for replies.
func TestSlowRedis_CostsNoLease(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	const ttl = time.Second
	s := newTest(t, f.Client(t, server.Options()), Config{Limit: 2, SessionTTL: ttl})
	held := acquire(t, s, 1)
	f.Slow(ttl / 10)
	begin := time.Now()
	calls := s.Stats().ScriptCalls
	for range 2000 {
		acquire(t, s, 1).Release()
	}
	if n := s.Stats().ScriptCalls - calls; n > 100 {
		t.Errorf("script calls for 2000 permits of the process's own: got %d, want at most 100", n)
	}
	for time.Since(begin) < 2*ttl {
		if held.Err() != nil {
			t.Fatalf("the lease: got %v, want nil", held.Err())
		}
		<-time.After(ttl / 10)
	}
	held.Release()
	f.Slow(0)
}

// A semaphore whose Redis hangs doesn't delay other semaphores of the process.
func TestHungRedis_DelaysNoOtherSemaphore(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	hung := newTest(t, f.Client(t, server.Options()), Config{Limit: 1, Outage: FailClosed, SessionTTL: time.Second})
	well := newTest(t, redistest.Client(t), Config{Limit: 1})
	f.Blackhole()
	got := queued(t, hung, testkit.Context(t), 1)
	for range 100 {
		acquire(t, well, 1).Release()
	}
	refused(t, got, ErrUnavailable)
	f.Heal()
}

// Processes that lose Redis at the same time retry at different times.
func TestBackoff_IsSpread(t *testing.T) {
	cfg, err := Config{Name: "test", Limit: 1}.complete()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	var least, most time.Duration = time.Hour, 0
	for range 200 {
		s := newSession(&cfg)
		for range 5 {
			s.fail(errors.New("gone"), now)
		}
		wait := s.retryAt.Sub(now)
		least, most = min(least, wait), max(most, wait)
	}
	if most-least < 200*time.Millisecond || most > time.Second {
		t.Errorf("retries of 200 processes after five failures: got them after %v to %v, want at most 1s and 200ms apart", least, most)
	}
}
