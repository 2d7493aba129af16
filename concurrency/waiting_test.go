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
	"github.com/penstock/penstock/internal/testkit"
	"github.com/redis/go-redis/v9"
)

// The tests of this file run in a synctest bubble, where times are exact. No message arrives in it, because a connection
// that subscribes would stop the bubble's time.

// bubble runs f in a bubble. Every call of process makes the client of another process.
func bubble(t *testing.T, f func(t *testing.T, process func() *client)) {
	clockBubble(t, func(t *testing.T, process func() *client, _ *miniredis.Miniredis) { f(t, process) })
}

// clockBubble is bubble for tests that set Redis' clock.
func clockBubble(t *testing.T, f func(t *testing.T, process func() *client, mini *miniredis.Miniredis)) {
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
				Addr: "127.0.0.1:1",
				Dialer: func(context.Context, string, string) (net.Conn, error) {
					return nil, errors.New("no connections for messages")
				},
			})}
			c.AddHook(c)
			t.Cleanup(func() {
				if err := errors.Join(c.Close(), c.silent.Close()); err != nil {
					t.Error(err)
				}
			})
			return c
		}, mini)
	})
}

// client is a process's client. While away is set, it gets no replies.
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

// If every message is lost, a permit that another process returned is granted within the poll interval.
func TestPoll_ReplacesLostMessages(t *testing.T) {
	for _, poll := range []time.Duration{DefaultPollInterval, 40 * time.Millisecond} {
		bubble(t, func(t *testing.T, process func() *client) {
			cfg := Config{Limit: 1, PollInterval: poll, IdleTimeout: -1}
			a, b := newTest(t, process(), cfg), newTest(t, process(), cfg)
			for i := range 30 {
				held := acquire(t, a, 1)
				got := queued(t, b, testkit.Context(t), 1)
				time.Sleep(time.Duration(i) * 37 * time.Millisecond)
				none(t, got)
				released := time.Now()
				held.Release()
				take(t, got).Release()
				if took := time.Since(released); took > poll {
					t.Errorf("the waiter was served after %v, want at most %v", took, poll)
				}
				time.Sleep(time.Second)
			}
		})
	}
}

// Without messages, a waiter gets the permit of a dead process within the TTL and a poll interval.
func TestDeadProcess_IsReplacedWithoutMessages(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		dead := process()
		a, b := newTest(t, dead, Config{Limit: 1}), newTest(t, process(), Config{Limit: 1})
		acquire(t, a, 1)
		got := queued(t, b, testkit.Context(t), 1)
		time.Sleep(DefaultSessionTTL) // some heartbeats
		none(t, got)
		died := time.Now()
		dead.away.Store(true)
		take(t, got).Release()
		if took := time.Since(died); took > DefaultSessionTTL+DefaultPollInterval {
			t.Errorf("the permit of the dead process: got it after %v, want at most %v", took, DefaultSessionTTL+DefaultPollInterval)
		}
		dead.away.Store(false)
		back(t, a)
	})
}

// One heartbeat every third of the TTL keeps any number of leases.
func TestHeartbeat_KeepsAllLeases(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		const ttl, beats = 3 * time.Second, 300
		s := newTest(t, process(), Config{Limit: 64, SessionTTL: ttl})
		leases := make([]*Lease, 50)
		for i := range leases {
			leases[i] = acquire(t, s, 1)
		}
		time.Sleep(time.Second) // unused permits are returned
		before := s.Stats().ScriptCalls
		time.Sleep(beats * ttl / 3)
		if calls := s.Stats().ScriptCalls - before; calls < beats-1 || calls > beats+1 {
			t.Errorf("script calls in %d heartbeats: got %d, want %d ± 1", beats, calls, beats)
		}
		for _, l := range leases {
			if l.Err() != nil {
				t.Fatal(l.Err())
			}
		}
		if sum, st := allocated(t, s); sum != len(leases) {
			t.Errorf("allocated permits: got %d, want %d: %+v", sum, len(leases), st)
		}
	})
}

// Without Redis a lease lives until its session ends by the local clock, while Redis still counts its permit.
func TestLease_EndsByTheLocalClock(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		const ttl = 2 * time.Second
		cut := process()
		s, other := newTest(t, cut, Config{Limit: 1, SessionTTL: ttl, Outage: FailClosed}), newTest(t, process(), Config{Limit: 1, SessionTTL: ttl})
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
			t.Errorf("the lease: got cause %v and error %v, want %v", cause, l.Err(), ErrLeaseLost)
		}
		if lived < ttl/2 || lived >= ttl {
			t.Errorf("the lease lived for %v without Redis, want from %v to %v", lived, ttl/2, ttl)
		}
		if _, err := other.TryAcquire(t.Context()); !errors.Is(err, ErrFull) {
			t.Errorf("TryAcquire of another process as the context ends: got %v, want %v", err, ErrFull)
		}
		take(t, queued(t, other, testkit.Context(t), 1)).Release()
		if took := time.Since(away); took > ttl+DefaultPollInterval {
			t.Errorf("another process got the permit after %v, want at most %v", took, ttl+DefaultPollInterval)
		}
		cut.away.Store(false)
		back(t, s)
		acquire(t, s, 1).Release()
	})
}

// MaxHold ends a lease on time, and the next request gets its permit.
func TestMaxHold_EndsOnTime(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		const most = 3 * time.Second
		s := newTest(t, process(), Config{Limit: 1, MaxHold: most})
		l := acquire(t, s, 1)
		next := take(t, queued(t, s, testkit.Context(t), 1))
		if took := time.Since(l.since); took != most {
			t.Errorf("the next request got the permit after %v, want %v", took, most)
		}
		if !errors.Is(context.Cause(l.Context()), ErrLeaseLost) {
			t.Errorf("the cause of the lease's end: got %v, want %v", context.Cause(l.Context()), ErrLeaseLost)
		}
		next.Release()
		l.Release()
	})
}

// A wait ends at its deadline, with Redis or without.
func TestDeadline_EndsTheWaitOnTime(t *testing.T) {
	for _, away := range []bool{false, true} {
		bubble(t, func(t *testing.T, process func() *client) {
			c := process()
			s := newTest(t, c, Config{Limit: 1})
			l := acquire(t, s, 1)
			c.away.Store(away)
			const most = 700 * time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), most)
			defer cancel()
			start := time.Now()
			if _, err := s.Acquire(ctx); !errors.Is(err, ErrDeadline) || time.Since(start) != most {
				t.Errorf("away=%v: got %v after %v, want %v after %v", away, err, time.Since(start), ErrDeadline, most)
			}
			l.Release()
			c.away.Store(false)
		})
	}
}

// Close returns everything if Redis is back, also before the process has noticed that.
func TestClose_AfterAnOutageReturnsPermits(t *testing.T) {
	bubble(t, func(t *testing.T, process func() *client) {
		c := process()
		s, other := newTest(t, c, Config{Limit: 1}), newTest(t, process(), Config{Limit: 1})
		acquire(t, s, 1)
		c.away.Store(true)
		time.Sleep(DefaultSessionTTL * 3 / 4) // several reports fail
		c.away.Store(false)
		if err := s.Close(testkit.Context(t)); err != nil {
			t.Error(err)
		}
		if _, st := allocated(t, other); len(st.Sessions) > 0 {
			t.Errorf("sessions after Close: got %+v, want none", st)
		}
	})
}
