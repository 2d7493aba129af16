package concurrency

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// The waiting logic in the time of a synctest bubble, where a second is exactly a second. Redis is miniredis, and no
// message ever arrives (a connection that listens would make the bubble's time stand still).

// bubble runs f in a bubble; every call of process makes another process's client.
func bubble(t *testing.T, f func(t *testing.T, process func() *client)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 365 * 24 * time.Hour) // a bubble begins in 2000, and the scripts' time in 2017
		mini := miniredis.NewMiniRedis()
		mini.ClockTTL(true)
		t.Cleanup(mini.Close)
		f(t, func() *client {
			c := &client{UniversalClient: redis.NewClient(&redis.Options{
				Addr:   "127.0.0.1:1",
				Dialer: func(context.Context, string, string) (net.Conn, error) { return mini.Dial() },
			}), silent: redis.NewClient(&redis.Options{
				Addr:   "127.0.0.1:1",
				Dialer: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody listens") },
			})}
			c.AddHook(c)
			t.Cleanup(func() {
				if err := errors.Join(c.Close(), c.silent.Close()); err != nil {
					t.Error(err)
				}
			})
			return c
		})
	})
}

// client is a process's client. It can be cut off from Redis, which then answers nothing.
type client struct {
	redis.UniversalClient
	silent *redis.Client
	away   atomic.Bool
}

func (c *client) Subscribe(ctx context.Context, channels ...string) *redis.PubSub {
	return c.silent.Subscribe(ctx, channels...)
}

func (c *client) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *client) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if c.away.Load() {
			<-ctx.Done()
			cmd.SetErr(ctx.Err())
			return ctx.Err()
		}
		return next(ctx, cmd)
	}
}

func (c *client) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// Where every message is lost, a permit that another process gave back is had within the poll interval.
func TestPollMakesUpForLostMessages(t *testing.T) {
	for _, poll := range []time.Duration{DefaultPoll, 40 * time.Millisecond} {
		bubble(t, func(t *testing.T, process func() *client) {
			options := []Option{WithPoll(poll), WithLinger(0)}
			a, b := newTest(t, process(), 1, options...), newTest(t, process(), 1, options...)
			for i := range 30 {
				held := acquire(t, a, 1)
				got := queued(t, b, bounded(t), 1)
				time.Sleep(time.Duration(i) * 37 * time.Millisecond)
				none(t, got)
				released := time.Now()
				held.Release()
				take(t, got).Release()
				if took := time.Since(released); took > poll {
					t.Errorf("served %v after the release, with a poll every %v", took, poll)
				}
				time.Sleep(time.Second)
			}
		})
	}
}

// A waiter that nobody tells of a dead holder has its permit within the TTL and a poll.
func TestDeadHolderWithoutMessages(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		dead := process()
		a, b := newTest(t, dead, 1), newTest(t, process(), 1)
		acquire(t, a, 1)
		got := queued(t, b, bounded(t), 1)
		time.Sleep(DefaultTTL) // some heartbeats
		none(t, got)
		died := time.Now()
		dead.away.Store(true)
		take(t, got).Release()
		if took := time.Since(died); took > DefaultTTL+DefaultPoll {
			t.Errorf("the permit came back after %v", took)
		}
		dead.away.Store(false)
		back(t, a)
	})
}

// However many leases, one heartbeat every third of the TTL keeps them.
func TestHeartbeat(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		const ttl, beats = 3 * time.Second, 300
		s := newTest(t, process(), 64, WithTTL(ttl))
		leases := make([]*Lease, 50)
		for i := range leases {
			leases[i] = acquire(t, s, 1)
		}
		time.Sleep(time.Second) // what was left over is given back
		before := s.Stats().Calls
		time.Sleep(beats * ttl / 3)
		if calls := s.Stats().Calls - before; calls < beats-1 || calls > beats+1 {
			t.Errorf("%d calls in %d thirds of the TTL", calls, beats)
		}
		for _, l := range leases {
			if l.Err() != nil {
				t.Fatal(l.Err())
			}
		}
		if sum, st := allocated(t, s); sum != len(leases) {
			t.Errorf("%d leases, and Redis knows of %d permits: %+v", len(leases), sum, st)
		}
	})
}

// Cut off from Redis, a lease lives on until its session's end by the local clock, and ends while Redis still counts it.
func TestLeaseEndsByTheLocalClock(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		const ttl = 2 * time.Second
		cut := process()
		s, other := newTest(t, cut, 1, WithTTL(ttl), WithPolicy(FailClosed)), newTest(t, process(), 1, WithTTL(ttl))
		l := acquire(t, s, 1)
		ctx := l.Context()
		for range 7 { // heartbeats at odd times
			time.Sleep(300 * time.Millisecond)
		}
		cut.away.Store(true)
		away := time.Now()
		<-ctx.Done()
		lived := time.Since(away)
		if cause := context.Cause(ctx); !errors.Is(cause, ErrLeaseLost) || !errors.Is(l.Err(), ErrLeaseLost) {
			t.Errorf("the lease ended by %v, %v", cause, l.Err())
		}
		if lived < ttl/2 || lived >= ttl {
			t.Errorf("cut off, the lease lived on for %v, with a TTL of %v", lived, ttl)
		}
		if _, err := other.TryAcquire(t.Context()); !errors.Is(err, ErrFull) {
			t.Errorf("as the context ended, another asked for the permit: %v", err)
		}
		take(t, queued(t, other, bounded(t), 1)).Release()
		if took := time.Since(away); took > ttl+DefaultPoll {
			t.Errorf("another had the permit only after %v", took)
		}
		cut.away.Store(false)
		back(t, s)
		acquire(t, s, 1).Release()
	})
}

// A lease that is held for too long ends at that moment, and the next caller has its permit.
func TestMaxHoldOnTime(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		const most = 3 * time.Second
		s := newTest(t, process(), 1, WithMaxHold(most))
		l := acquire(t, s, 1)
		next := take(t, queued(t, s, bounded(t), 1))
		if took := time.Since(l.since); took != most {
			t.Errorf("the next caller had the permit after %v, want %v", took, most)
		}
		if !errors.Is(context.Cause(l.Context()), ErrLeaseLost) {
			t.Errorf("the lease that was held for too long ended by %v", context.Cause(l.Context()))
		}
		next.Release()
		l.Release()
	})
}

// A wait ends at its deadline, whether Redis answers or not.
func TestDeadlineOnTime(t *testing.T) {
	for _, away := range []bool{false, true} {
		bubble(t, func(t *testing.T, process func() *client) {
			c := process()
			s := newTest(t, c, 1)
			l := acquire(t, s, 1)
			c.away.Store(away)
			const most = 700 * time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), most)
			defer cancel()
			start := time.Now()
			if _, err := s.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != most {
				t.Errorf("away=%v: %v after %v, want the deadline's error after %v", away, err, time.Since(start), most)
			}
			l.Release()
			c.away.Store(false)
		})
	}
}

// Closed as Redis is back, but before the process has found that out, it gives everything back.
func TestCloseAfterOutage(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		c := process()
		s, other := newTest(t, c, 1), newTest(t, process(), 1)
		acquire(t, s, 1)
		c.away.Store(true)
		time.Sleep(DefaultTTL * 3 / 4) // several reports fail
		c.away.Store(false)
		if err := s.Close(bounded(t)); err != nil {
			t.Error(err)
		}
		if _, st := allocated(t, other); len(st.Sessions) > 0 {
			t.Errorf("left behind: %+v", st)
		}
	})
}
