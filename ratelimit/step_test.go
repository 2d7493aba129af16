package ratelimit_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/ratelimit"
)

// stepping is a Redis whose clock can be set, and two processes that share a limit in it.
type stepping struct {
	t    *testing.T
	mini *testkit.BubbleServer
	skew time.Duration
	a, b *ratelimit.Limiter
}

// steps runs f in a bubble.
func steps(t *testing.T, f func(s *stepping)) {
	t.Helper()
	bubbleWith(t, func(t *testing.T, rdb *redis.Client, mini *testkit.BubbleServer) {
		s := &stepping{t: t, mini: mini, a: ratelimit.NewLimiter(rdb), b: ratelimit.NewLimiter(rdb)}
		s.pass(0)
		f(s)
	})
}

// pass advances the bubble's time and Redis' clock.
func (s *stepping) pass(d time.Duration) {
	for d > 0 {
		step := min(d, time.Millisecond)
		time.Sleep(step)
		s.mini.SetTime(time.Now().Add(s.skew))
		d -= step
	}
	s.mini.SetTime(time.Now().Add(s.skew))
}

// set moves Redis' clock.
func (s *stepping) set(d time.Duration) {
	s.skew += d
	s.pass(0)
}

func (s *stepping) take(l *ratelimit.Limiter, limit ratelimit.Limit, n, want int) *ratelimit.Result {
	s.t.Helper()
	res, err := l.AllowN(s.t.Context(), "k", limit, n)
	if err != nil || res.Allowed != want {
		s.t.Fatalf("got %+v, %v; want %d allowed", res, err, want)
	}
	return res
}

// TestClockSetBack_KeepsRefill sets Redis' clock back by an hour: the units that had refilled are available, and no more.
func TestClockSetBack_KeepsRefill(t *testing.T) {
	steps(t, func(s *stepping) {
		limit := ratelimit.PerMinute(60)
		s.take(s.a, limit, 50, 50)
		s.take(s.b, limit, 10, 10)
		s.pass(30 * time.Second)
		s.set(-time.Hour)
		s.take(s.a, limit, 20, 20)
		s.take(s.b, limit, 9, 9)
		s.pass(20 * time.Millisecond) // b's report of the step has arrived, too
		if res := s.take(s.a, limit, 2, 0); res.RetryAfter > 2*time.Second {
			s.t.Errorf("%+v: locked out", res)
		}
		s.pass(10 * time.Second)
		s.set(-time.Hour) // again
		s.take(s.b, limit, 10, 10)
		if res := s.take(s.b, limit, 2, 0); res.RetryAfter > 2*time.Second {
			s.t.Errorf("%+v: locked out", res)
		}
	})
}

// TestClockSetBack_KeepsBookings sets Redis' clock back while there are bookings: no waiter waits longer.
func TestClockSetBack_KeepsBookings(t *testing.T) {
	steps(t, func(s *stepping) {
		limit := ratelimit.Limit{Rate: 1, Burst: 1, Period: time.Second}
		for range 5 { // now and in 1, 2, 3, 4 s
			reserveStep(s, limit)
		}
		s.pass(time.Second)
		s.set(-10 * time.Minute)
		r := reserveStep(s, limit)
		if d := r.Delay(); d < 4*time.Second-50*time.Millisecond || d > 4*time.Second+50*time.Millisecond {
			s.t.Errorf("the next booking is %v away, want 4 s", d)
		}
		s.pass(time.Second)
		r.Cancel()
		s.pass(20 * time.Millisecond)
		if d := reserveStep(s, limit).Delay(); d < 2900*time.Millisecond || d > 3100*time.Millisecond {
			s.t.Errorf("the returned booking is %v away, want 3 s", d)
		}
	})
}

func reserveStep(s *stepping, limit ratelimit.Limit) *ratelimit.Reservation {
	s.t.Helper()
	r, err := s.a.Reserve(s.t.Context(), ratelimit.Charge{Key: "k", Limit: limit, Cost: 1})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// TestClockSetForward_AdmitsOneBurst sets Redis' clock forward: one more burst is admitted, and no call is stopped.
func TestClockSetForward_AdmitsOneBurst(t *testing.T) {
	steps(t, func(s *stepping) {
		limit := ratelimit.PerMinute(60)
		s.take(s.a, limit, 60, 60)
		s.set(time.Hour)
		s.take(s.a, limit, 60, 60)
		s.take(s.b, limit, 1, 0)
		s.pass(2 * time.Second)
		s.take(s.b, limit, 2, 2)
	})
}

// TestClock_KeepsBookingsFarAhead checks that bookings far ahead aren't taken for a clock that was set back.
func TestClock_KeepsBookingsFarAhead(t *testing.T) {
	steps(t, func(s *stepping) {
		limit := ratelimit.PerMinute(60)
		for range 60 {
			if _, err := s.a.Reserve(s.t.Context(), ratelimit.Charge{Key: "k", Limit: limit, Cost: 60}); err != nil {
				s.t.Fatal(err)
			}
		}
		for range 3 {
			s.pass(time.Second)
			if res := s.take(s.b, limit, 1, 0); res.RetryAfter < 58*time.Minute {
				s.t.Errorf("%+v: bookings were lost", res)
			}
			s.take(s.a, limit, 1, 0)
		}
	})
}
