package admission

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/scripts"
)

// A booking that its call declines goes to the next waiter, without a script call.
func TestDecline_BookingGoesToTheNextWaiter(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		first := begin(t, c, anyCall, 0)
		first.admitted(t)
		f.reply(in(800 * time.Millisecond))
		second := begin(t, c, anyCall, 0)
		second.waits(t)
		n := len(f.since(0))
		first.Decline()
		first.Release() // has no effect
		second.admitted(t)
		if calls := f.since(n); len(calls) != 0 || c.Stats().InFlight != 1 {
			t.Errorf("got %+v, %d in flight, want no call and one in flight", calls, c.Stats().InFlight)
		}
	})
}

// The booking of a key that is gone isn't passed on: its permit is returned.
func TestDecline_BookingOfAKeyThatIsGoneIsReturned(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		first := begin(t, c, anyCall, 0)
		first.admitted(t)
		f.reply(in(800 * time.Millisecond))
		second := begin(t, c, anyCall, 0)
		c.SetAccounts(accountsNamed("other"))
		first.Decline()
		second.waits(t)
		if n := c.Stats().InFlight; n != 0 {
			t.Errorf("got %d in flight, want 0", n)
		}
	})
}

// A call that is late for its send time asks once more, before first attempts, and doesn't ask a third time.
func TestAcquire_ALateCallTakesANewSendTimeOnce(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		c.cfg.Limits[0].Interval = 0.001
		f.reply(func(call *scripts.PoolCall) (*scripts.PoolReply, error) {
			r := replyTo(call, 1)
			for i := range r.Grants {
				r.Grants[i].SendAt -= 80_000 // more than three quarters of the arrival jitter ago
			}
			return r, nil
		})
		begin(t, c, anyCall, 0).admitted(t)
		if calls := f.since(0); len(calls) != 2 || c.Stats().SlotsMissed != 1 {
			t.Errorf("got %d calls, %d missed, want 2 and 1", len(calls), c.Stats().SlotsMissed)
		}
	})
}

// A call waits for its send time, and one whose context ends before declines.
func TestAcquire_WaitsForTheSendTime(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(func(call *scripts.PoolCall) (*scripts.PoolReply, error) {
			r := replyTo(call, 1)
			for i := range r.Grants {
				r.Grants[i].SendAt += 50_000
			}
			return r, nil
		})
		a, b := begin(t, c, anyCall, 0), begin(t, c, anyCall, 0)
		time.Sleep(49 * time.Millisecond)
		a.waits(t)
		b.cancel()
		time.Sleep(time.Millisecond)
		a.admitted(t)
		if !errors.Is(b.result(), context.Canceled) || c.Stats().InFlight != 1 {
			t.Errorf("got %v, %d in flight, want an error and the other call", b.result(), c.Stats().InFlight)
		}
	})
}

// dailyConfig returns the Config of a pool with a daily count.
func dailyConfig() Config { return configOf([]Limit{daily(100, 0)}, "k") }

// settlements returns the units that script calls settle.
func settlements(calls []fakeCall) int64 {
	var units int64
	for _, call := range calls {
		for _, r := range call.Reports {
			if r.Kind == scripts.SettleCounter {
				units += r.Units
			}
		}
	}
	return units
}

// If no waiter takes a booking that its call declines, the daily counts get their units back, soon.
func TestDecline_RefundsDailyCounts(t *testing.T) {
	bubble(t, dailyConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		a := begin(t, c, callOf(7), 0)
		a.admitted(t)
		a.Decline()
		time.Sleep(time.Second)
		calls := f.since(1)
		if got := settlements(calls); got != -7 || calls[0].after != 20*time.Millisecond {
			t.Errorf("got %d units settled, %+v, want 7 back after 20 ms", got, calls)
		}
	})
}

// The grant of a call that has left meanwhile goes to another waiter. If there is none, permit and daily counts go back.
func TestDispatch_TheGrantOfACallThatHasLeft(t *testing.T) {
	for name, other := range map[string]bool{"goes to another waiter": true, "goes back": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, dailyConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
				release := make(chan struct{})
				f.reply(func(call *scripts.PoolCall) (*scripts.PoolReply, error) {
					<-release
					return replyTo(call, 1), nil
				})
				left := begin(t, c, callOf(7), 0)
				var next *attempt
				if other {
					next = begin(t, c, callOf(5), 0)
				}
				left.cancel()
				if err := left.result(); !errors.Is(err, context.Canceled) {
					t.Fatalf("got %v, want the context's error", err)
				}
				close(release)
				time.Sleep(time.Second)
				calls, inFlight := f.since(1), c.Stats().InFlight
				if other {
					next.admitted(t)
					if len(calls) != 0 || inFlight != 1 || next.Units()[0] != 7 {
						t.Errorf("got %+v, %d in flight, want the booking of 7 to go to the other call", calls, inFlight)
					}
				} else if got := settlements(calls); got != -7 || inFlight != 0 {
					t.Errorf("got %d units settled, %d in flight, want 7 back and none", got, inFlight)
				}
			})
		})
	}
}

// A call whose send time is after its deadline is refused, and its grant goes back.
func TestDispatch_ASendTimeAfterTheDeadlineIsRefused(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(func(call *scripts.PoolCall) (*scripts.PoolReply, error) {
			r := replyTo(call, 1)
			r.Constraint = 0
			for i := range r.Grants {
				r.Grants[i].SendAt += 60_000_000
			}
			return r, nil
		})
		a := begin(t, c, anyCall, 30*time.Second)
		want := Refusal{Err: ErrDeadline, RetryAfter: time.Minute, Limit: 0}
		if got, ok := a.result().(*Refusal); !ok || *got != want || c.Stats().InFlight != 0 {
			t.Errorf("got %v, %d in flight, want %+v and none", a.result(), c.Stats().InFlight, want)
		}
	})
}
