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
