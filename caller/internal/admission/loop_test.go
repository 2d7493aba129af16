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

// While the queue waits for a permit, a call that isn't served first waits for it, too, whatever its deadline.
func TestLoop_EnqueueWhileTheQueueWaitsForAPermit(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(permitsTaken)
		begin(t, c, anyCall, 0).waits(t)
		begin(t, c, anyCall, 10*time.Millisecond).waits(t)
		if calls := f.since(1); len(calls) != 0 {
			t.Errorf("got %+v, want no call", calls)
		}
		begin(t, c, Request{Priority: high}, 0).waits(t)
		if calls := f.since(1); len(calls) != 1 || calls[0].after != 0 {
			t.Errorf("with a higher priority: got %+v, want one call at once", calls)
		}
	})
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

// A settlement reaches Redis soon, also if no other call follows.
func TestLoop_ASettlementNeedsNoOtherCall(t *testing.T) {
	cfg := limitedConfig()
	cfg.Concurrency = 0
	bubble(t, cfg, func(t *testing.T, c *Controller, f *fakeRedis) {
		a := begin(t, c, anyCall, 0)
		a.admitted(t)
		a.Release()
		time.Sleep(time.Hour)
		a.Settle([]int64{3})
		time.Sleep(time.Hour)
		calls := f.since(1)
		if len(calls) != 1 || calls[0].after != time.Hour+20*time.Millisecond || settlements(calls) != 3 {
			t.Errorf("got %+v, want one call 20 ms after the settlement", calls)
		}
	})
}

// After the reset of a daily count the script gets the next one.
func TestLoop_ADailyCountIsReset(t *testing.T) {
	bubble(t, dailyConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		begin(t, c, anyCall, 0).admitted(t)
		time.Sleep(time.Hour)
		begin(t, c, anyCall, 0).admitted(t)
		time.Sleep(24 * time.Hour)
		begin(t, c, anyCall, 0).admitted(t)
		calls := f.since(0)
		if len(calls) != 3 || calls[0].Config != calls[1].Config || calls[1].Config == calls[2].Config {
			t.Errorf("got %d calls, want three, the last with another configuration", len(calls))
		}
	})
}

// A permit that is released while the queue waits for a time is reported as soon as one that no call waits behind.
func TestLoop_ReleaseIsReportedWhileTheQueueWaitsForATime(t *testing.T) {
	for _, others := range []int{0, 1} {
		bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
			held := begin(t, c, anyCall, 0)
			held.admitted(t)
			f.reply(func(call *scripts.PoolCall) (*scripts.PoolReply, error) {
				r, err := in(3 * time.Second)(call)
				r.Waiting = others
				return r, err
			})
			a := begin(t, c, anyCall, 0)
			a.waits(t)
			n := len(f.since(0))
			released := time.Since(bubbleStart)
			held.Release()
			time.Sleep(reportDelay)
			want := released
			if others == 0 {
				want += reportDelay
			}
			if calls := f.since(n); len(calls) != 1 || calls[0].after != want || !slices.Equal(calls[0].Held, []int{0}) {
				t.Errorf("%d others wait: got %+v, want one call after %v that reports no permits", others, calls, want)
			}
			a.cancel()
		})
	}
}

// What a reply says of the state goes to the observer.
func TestLoop_ReplyReachesTheObserver(t *testing.T) {
	cfg := limitedConfig()
	var unreadable, refused, muted int
	cfg.Observer = Observer{
		ScriptCalled: func(c ScriptCall) {
			unreadable, refused = unreadable+c.Unreadable, refused+c.Refused
			if c.Muted {
				muted++
			}
		},
	}
	bubble(t, cfg, func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(func(call *scripts.PoolCall) (*scripts.PoolReply, error) {
			r := replyTo(call, 1)
			r.Unreadable, r.Refused, r.Muted = 2, 3, true
			return r, nil
		})
		a := begin(t, c, anyCall, 0)
		a.admitted(t)
		f.reply(nil)
		a.Release()
		f.since(0)
		if unreadable != 2 || refused != 3 || muted != 1 {
			t.Errorf("got %d unreadable, %d refused, %d muted, want 2, 3 and 1", unreadable, refused, muted)
		}
	})
}
