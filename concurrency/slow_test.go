package concurrency

import (
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
)

// A Redis that is slow, but not as slow as the TTL, costs no lease, and what a process has it hands on as fast as ever.
func TestSlowRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	const ttl = time.Second
	s := newTest(t, f.Client(t, server.Options()), 2, WithTTL(ttl))
	held := acquire(t, s, 1)
	f.Slow(ttl / 10)
	begin := time.Now()
	calls := s.Stats().Calls
	for range 2000 {
		acquire(t, s, 1).Release()
	}
	if n := s.Stats().Calls - calls; n > 100 {
		t.Errorf("2000 permits of the process's own took %d calls", n)
	}
	for time.Since(begin) < 2*ttl {
		if held.Err() != nil {
			t.Fatalf("a lease was lost: %v", held.Err())
		}
		<-time.After(ttl / 10)
	}
	held.Release()
	f.Slow(0)
}

// A semaphore whose Redis hangs doesn't hold up others, even of the same process.
func TestOthersAreNotHeldUp(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	hung := newTest(t, f.Client(t, server.Options()), 1, WithPolicy(FailClosed), WithTTL(time.Second))
	well := newTest(t, redistest.Client(t), 1)
	f.Blackhole()
	got := queued(t, hung, bounded(t), 1)
	for range 100 {
		acquire(t, well, 1).Release()
	}
	refused(t, got, ErrUnavailable)
	f.Heal()
}

// Processes that lose Redis at the same time don't come back at the same time.
func TestRetriesAreSpread(t *testing.T) {
	cfg, err := newConfig(1, nil)
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
		wait := s.retry.Sub(now)
		least, most = min(least, wait), max(most, wait)
	}
	if most-least < 200*time.Millisecond || most > time.Second {
		t.Errorf("after five failures, 200 processes come back within %v to %v", least, most)
	}
}
