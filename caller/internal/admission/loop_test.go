package admission

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/penstock/penstock/scripts"
)

// A lone call goes out at once, in a script call of its own, and nothing follows but the report of its end.
func TestLoop_ALoneCallGoesOutAtOnce(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		a := begin(t, c, anyCall, 0)
		a.admitted(t)
		if calls := f.since(0); len(calls) != 1 || calls[0].after != 0 || demanded(calls[0].PoolCall) != 1 || a.Key() != "k" {
			t.Fatalf("got %+v, key %q, want one call at once that admits key k", calls, a.Key())
		}
		a.Release()
		time.Sleep(time.Hour)
		calls := f.since(1)
		if len(calls) != 1 || calls[0].after != 20*time.Millisecond || !slices.Equal(calls[0].Held, []int{0}) {
			t.Errorf("got %+v, want one call after 20ms that reports no permits", calls)
		}
	})
}

// Calls that come while a script call is in flight gather for the next one.
func TestLoop_ArrivalsDuringACallGatherForTheNext(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		release := make(chan struct{})
		f.reply(func(call *scripts.PoolCall) (*scripts.PoolReply, error) {
			<-release
			return replyTo(call, 100), nil
		})
		all := []*attempt{begin(t, c, anyCall, 0), begin(t, c, anyCall, 0), begin(t, c, anyCall, 0)}
		close(release)
		for _, a := range all {
			a.admitted(t)
		}
		if calls := f.since(0); len(calls) != 2 || demanded(calls[0].PoolCall) != 1 || demanded(calls[1].PoolCall) != 2 {
			t.Errorf("got %+v, want a call for one and a call for two", calls)
		}
	})
}

// While the queue waits for a time, a call asks at once if it is the first of its model group to be served, if its
// deadline is before that time, or if that time is over a second ahead. Otherwise it waits for that time.
func TestLoop_EnqueueWhileTheQueueWaitsForATime(t *testing.T) {
	for name, test := range map[string]struct {
		wake    time.Duration
		request Request
		timeout time.Duration
		want    bool // asks at once
	}{
		"like the one that waits": {800 * time.Millisecond, anyCall, 0, false},
		"lower priority":          {800 * time.Millisecond, Request{Priority: low}, 0, false},
		"higher priority":         {800 * time.Millisecond, Request{Priority: high}, 0, true},
		"deadline before":         {800 * time.Millisecond, anyCall, 500 * time.Millisecond, true},
		"deadline after":          {800 * time.Millisecond, anyCall, 900 * time.Millisecond, false},
		"over a second ahead":     {1001 * time.Millisecond, anyCall, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
				f.reply(in(test.wake))
				begin(t, c, anyCall, 0).waits(t)
				second := begin(t, c, test.request, test.timeout)
				calls := f.since(1)
				if asked := len(calls) > 0; asked != test.want {
					t.Errorf("got a call at once: %v, want %v", asked, test.want)
				}
				if test.timeout == 500*time.Millisecond && !errors.Is(second.result(), ErrDeadline) {
					t.Errorf("got %v, want ErrDeadline", second.result())
				}
			})
		})
	}
}

// The first of another model group asks at once, although the queue waits for a time.
func TestLoop_EnqueueOfAnotherModelGroupAsksAtOnce(t *testing.T) {
	cfg := limitedConfig()
	cfg.Limits[0].Models = []string{"m"}
	bubble(t, cfg, func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(in(800 * time.Millisecond))
		begin(t, c, anyCall, 0).waits(t)
		begin(t, c, callFor("m"), 0).waits(t)
		if calls := f.since(1); len(calls) != 1 || demanded(calls[0].PoolCall) != 2 {
			t.Errorf("got %+v, want one call at once for both", calls)
		}
	})
}

// A queue that is full, or of a controller that is closed, refuses.
func TestLoop_EnqueueIsRefused(t *testing.T) {
	cfg := limitedConfig()
	cfg.MaxWaiting = 1
	bubble(t, cfg, func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(permitsTaken)
		first := begin(t, c, anyCall, 0)
		if a := begin(t, c, anyCall, 0); !errors.Is(a.result(), ErrQueueFull) {
			t.Errorf("behind another: got %v, want ErrQueueFull", a.result())
		}
		f.reply(nil)
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("close: got %v, want no error", err)
		}
		if !errors.Is(first.result(), ErrClosed) {
			t.Errorf("the call that waited: got %v, want ErrClosed", first.result())
		}
		if a := begin(t, c, anyCall, 0); !errors.Is(a.result(), ErrClosed) {
			t.Errorf("after Close: got %v, want ErrClosed", a.result())
		}
	})
}

// A message makes a queue that waits for a permit ask at once. To one that waits for a time it says nothing.
func TestLoop_MessageEndsTheWaitForAPermit(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(permitsTaken)
		a := begin(t, c, anyCall, 0)
		a.waits(t)
		n := len(f.since(0))
		f.reply(in(800 * time.Millisecond))
		f.message()
		if calls := f.since(n); len(calls) != 1 || calls[0].after != 0 {
			t.Fatalf("waiting for a permit: got %+v, want one call at once", calls)
		}
		f.message()
		if calls := f.since(n + 1); len(calls) != 0 {
			t.Errorf("waiting for a time: got %+v, want no call", calls)
		}
	})
}

// Without a message, a queue that waits for a permit polls every 125 to 375 ms.
func TestLoop_PollsForAPermit(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(permitsTaken)
		begin(t, c, anyCall, 0)
		time.Sleep(3 * time.Second)
		calls := f.since(0)
		if len(calls) < 8 || len(calls) > 24 {
			t.Errorf("got %d calls in 3 s, want 8 to 24", len(calls))
		}
		for i := 1; i < len(calls); i++ {
			if d := calls[i].after - calls[i-1].after; d < 125*time.Millisecond || d > 375*time.Millisecond {
				t.Errorf("call %d: got %v after the one before, want 125 to 375 ms", i, d)
			}
		}
	})
}

// A permit that is released makes a queue that waits for one ask at once.
func TestLoop_ReleaseEndsTheWaitForAPermit(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		held := begin(t, c, anyCall, 0)
		held.admitted(t)
		f.reply(permitsTaken)
		a := begin(t, c, anyCall, 0)
		a.waits(t)
		n := len(f.since(0))
		f.reply(nil)
		held.Release()
		held.Release() // has no effect
		a.admitted(t)
		if calls := f.since(n); len(calls) != 1 || calls[0].after != 0 || !slices.Equal(calls[0].Held, []int{0}) {
			t.Errorf("got %+v, want one call at once that reports no permits", calls)
		}
	})
}

// A permit that is released while another session waits is reported at once.
func TestLoop_ReleaseIsReportedAtOnceIfOthersWait(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(func(call *scripts.PoolCall) (*scripts.PoolReply, error) {
			r := replyTo(call, 1)
			r.Waiting = 1
			return r, nil
		})
		a := begin(t, c, anyCall, 0)
		a.admitted(t)
		a.Release()
		if calls := f.since(1); len(calls) != 1 || calls[0].after != 0 {
			t.Errorf("got %+v, want one call at once", calls)
		}
	})
}

// While Redis counts permits, a heartbeat keeps the session, a third of its TTL after the last call.
func TestLoop_HeartbeatWhileRedisCountsPermits(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		begin(t, c, anyCall, 0).admitted(t)
		time.Sleep(8 * time.Second)
		calls := f.since(1)
		if len(calls) != 2 || calls[0].after != 10*time.Second/3 || calls[1].after != 2*(10*time.Second/3) {
			t.Errorf("got %+v, want a call every third of the TTL", calls)
		}
	})
}

// When the only waiter leaves, Redis no longer counts it 20 ms after the last call.
func TestLoop_WithdrawsWaitersThatHaveLeft(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(permitsTaken)
		a := begin(t, c, anyCall, 10*time.Millisecond)
		time.Sleep(time.Minute)
		if !errors.Is(a.result(), context.DeadlineExceeded) {
			t.Fatalf("got %v, want the context's error", a.result())
		}
		calls := f.since(1)
		if len(calls) == 0 || demanded(calls[len(calls)-1].PoolCall) != 0 || c.Stats().Waiting != 0 {
			t.Fatalf("got %+v, want a last call without demands", calls)
		}
		if last := calls[len(calls)-1].after; last > time.Second {
			t.Errorf("got the last call after %v, want it soon", last)
		}
	})
}

// A booking that its call declines goes to the next waiter, without a script call.
func TestLoop_DeclinedBookingGoesToTheNextWaiter(t *testing.T) {
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
func TestLoop_DeclinedBookingOfAKeyThatIsGoneIsReturned(t *testing.T) {
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
func TestLoop_ALateCallTakesANewSendTimeOnce(t *testing.T) {
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
func TestLoop_ACallWaitsForItsSendTime(t *testing.T) {
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

// Waiters for which every key is disabled are refused with the reason, and waiters with an earlier deadline than the time
// at which they can be admitted with the limit in the way.
func TestLoop_ReplyRefusesWaiters(t *testing.T) {
	for name, test := range map[string]struct {
		blocked int
		wake    time.Duration
		want    Refusal
	}{
		"disabled": {scripts.ConstraintDisabled, 0, Refusal{Err: ErrNoKeys, Detail: "revoked", Limit: NoLimit}},
		"excluded": {scripts.ConstraintExcluded, 0, Refusal{Err: ErrExcluded, Limit: NoLimit}},
		"too late": {0, time.Minute, Refusal{Err: ErrDeadline, RetryAfter: time.Minute, Limit: 0}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
				f.reply(func(call *scripts.PoolCall) (*scripts.PoolReply, error) {
					r := replyTo(call, 0)
					r.Wake, r.Constraint, r.Reason = test.wake, 0, "revoked"
					for i := range r.Blocked {
						r.Blocked[i] = test.blocked
					}
					return r, nil
				})
				a := begin(t, c, anyCall, 30*time.Second)
				if got, ok := a.result().(*Refusal); !ok || *got != test.want {
					t.Errorf("got %#v, want %#v", a.result(), test.want)
				}
			})
		})
	}
}

// An operator's order is reported at once, and returns when Redis has confirmed it. So does a change of accounts, which
// makes waiters ask at once.
func TestLoop_OrdersAndAccountsAskAtOnce(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(in(800 * time.Millisecond))
		begin(t, c, anyCall, 0).waits(t)
		if err := c.Block(t.Context(), Block{Key: "k", Disabled: true, For: time.Hour, Reason: "leaked"}); err != nil {
			t.Errorf("block: got %v, want no error", err)
		}
		if err := c.Unblock(t.Context(), "", "k"); err != nil {
			t.Errorf("unblock: got %v, want no error", err)
		}
		c.SetAccounts(accountsNamed("k", "l"))
		calls := f.since(1)
		if len(calls) != 3 || calls[2].after != 0 {
			t.Fatalf("got %+v, want three calls at once", calls)
		}
		off, on := calls[0].Reports, calls[1].Reports
		if len(off) != 1 || off[0].Kind != scripts.DisableBlock || off[0].Block != "k:k" || off[0].For != time.Hour {
			t.Errorf("got %+v, want key k disabled for an hour", off)
		}
		if len(on) != 1 || on[0].Kind != scripts.ClearBlock || on[0].Block != "k:k" || demanded(calls[1].PoolCall) != 1 {
			t.Errorf("got %+v, want key k cleared, and a demand", on)
		}
		if got := c.Accounts(); len(got) != 2 {
			t.Errorf("got accounts %+v, want two", got)
		}
	})
}

// What an attempt taught is reported: a cooldown at once and with a slower pace, quotas with the next call, samples when
// they are due.
func TestLoop_FeedbackIsReported(t *testing.T) {
	cfg := limitedConfig()
	cfg.Adaptive = &Adaptive{Min: 1, Initial: 5, Backoff: 0.9, Every: time.Second}
	bubble(t, cfg, func(t *testing.T, c *Controller, f *fakeRedis) {
		a := begin(t, c, anyCall, 0)
		a.admitted(t)
		a.Feedback(Feedback{})
		a.Feedback(Feedback{Works: true}) // no trial
		if calls := f.since(1); len(calls) != 0 {
			t.Fatalf("got %+v, want no call", calls)
		}
		a.Feedback(Feedback{Quotas: []Quota{{Limit: 60, Remaining: 0}}, Sample: Served, Latency: time.Second, Initial: 7})
		a.Feedback(Feedback{Pace: 0.75, Block: &Block{Account: "k", For: time.Minute, Reason: "429"}})
		calls := f.since(1)
		if len(calls) != 1 || calls[0].after != 0 {
			t.Fatalf("got %+v, want one call at once", calls)
		}
		var kinds []scripts.ReportKind
		for _, r := range calls[0].Reports {
			kinds = append(kinds, r.Kind)
		}
		// A bucket of 60 leaves less than a unit unused, so its quota says nothing.
		if want := []scripts.ReportKind{scripts.SlowCounter, scripts.CoolBlock}; !slices.Equal(kinds, want) {
			t.Errorf("got reports %v, want %v", kinds, want)
		}
		time.Sleep(time.Second)
		calls = f.since(2)
		if len(calls) != 1 || calls[0].after != time.Second {
			t.Fatalf("got %+v, want one call at the window's end", calls)
		}
		want := scripts.PoolReport{Kind: scripts.AdaptPermits, OK: 1, For: time.Second, Peak: 1, Units: 7}
		if got := calls[0].Reports; len(got) != 1 || got[0] != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}
