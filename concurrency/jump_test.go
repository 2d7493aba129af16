package concurrency

import (
	"errors"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/penstock/penstock/scripts"
)

// setForward sets Redis' clock forward, from now until the test ends.
func setForward(t *testing.T, mini *miniredis.Miniredis, by time.Duration) {
	stop, ended := make(chan struct{}), make(chan struct{})
	mini.SetTime(time.Now().Add(by))
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				mini.SetTime(time.Now().Add(by))
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-ended })
}

// When Redis' clock is set forward by more than the TTL, processes that had reached Redis before grant no permit twice.
func TestClockForward_GrantsNoPermitTwice(t *testing.T) {
	clockBubble(t, func(t *testing.T, process func() *client, mini *miniredis.Miniredis) {
		const limit = 4
		a, b := newTest(t, process(), Config{Limit: limit}), newTest(t, process(), Config{Limit: limit})
		acquire(t, b, 1).Release() // b knows Redis' clock
		returned(t, b)
		held := acquire(t, a, limit)
		time.Sleep(200 * time.Millisecond)
		setForward(t, mini, time.Minute)
		waiting := queued(t, b, t.Context(), 1)
		for range 20 {
			time.Sleep(DefaultPollInterval)
			none(t, waiting)
		}
		if err := held.Err(); err != nil {
			t.Errorf("the lease: got %v, want nil", err)
		}
		held.Release()
		take(t, waiting).Release()
	})
}

// A machine that was suspended for longer than the TTL has lost its leases: its wall clock has jumped with Redis' clock.
func TestSuspension_EndsTheLeases(t *testing.T) {
	s, err := New(new(client), Config{Name: "test", Limit: 4})
	if err != nil {
		t.Fatal(err)
	}
	s.started, s.loop = true, &loop{wakeup: make(chan struct{}, 1)} // no goroutine runs: the test takes its steps
	now := time.Now()
	s.session.ends = now.Add(DefaultSessionTTL)
	l := s.grant(&waiter{ctx: t.Context(), n: 1, level: PriorityNormal.level()}, now)
	if lost := s.applyJump(DefaultSessionTTL/2, true, now); len(lost) != 0 {
		t.Errorf("leases lost to a short suspension: got %d, want 0", len(lost))
	}
	if lost := s.applyJump(time.Minute, false, now); len(lost) != 0 {
		t.Errorf("leases lost to a clock that was set forward: got %d, want 0", len(lost))
	}
	lost := s.applyJump(time.Minute, true, now)
	s.endLeases(lost, errExpired)
	if len(lost) != 1 || !errors.Is(l.cause, ErrLeaseLost) {
		t.Errorf("leases lost to a suspension of a minute: got %d with %v, want 1 with %v", len(lost), l.cause, ErrLeaseLost)
	}
}

// A late report shows by how much Redis' clock has jumped. Its drift, and a report that was only slow, are no jump.
func TestJump_IsMeasuredByLateReports(t *testing.T) {
	s, err := New(new(client), Config{Name: "test", Limit: 4})
	if err != nil {
		t.Fatal(err)
	}
	const minute = int64(time.Minute / time.Microsecond)
	start := time.Now()
	for i, tt := range []struct {
		after, redis time.Duration // since the reply before, by the two clocks
		err          error
		want         time.Duration
	}{
		{after: 0, redis: 0},
		{after: time.Second, redis: time.Second, err: scripts.ErrLate},
		{after: time.Second, redis: time.Minute},
		{after: time.Hour, redis: time.Hour + 3*time.Second, err: scripts.ErrLate},
		{after: time.Second, redis: time.Minute, err: scripts.ErrLate, want: 59*time.Second - time.Millisecond},
	} {
		start = start.Add(tt.after)
		server := s.lastReply.now + int64(tt.redis/time.Microsecond)
		if i == 0 {
			server = minute
		}
		x, a := &exchange{sent: start}, response{received: start, reply: &scripts.SemaphoreReply{Now: server}, err: tt.err}
		if jump, _ := s.observe(x, a); jump != tt.want {
			t.Errorf("reply %d: got a jump of %v, want %v", i, jump, tt.want)
		}
	}
}
