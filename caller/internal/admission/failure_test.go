package admission

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/scripts"
)

var errTrouble = errors.New("trouble")

// If Redis rejects a call, the waiters of its batch get the error, and later calls try again after a backoff.
func TestFailure_RejectedCallRefusesItsBatch(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(failing(scripts.Rejected, errTrouble))
		a := begin(t, c, anyCall, 0)
		var refusal *Refusal
		if !errors.As(a.result(), &refusal) || !errors.Is(a.result(), errTrouble) || refusal.Limit != NoLimit {
			t.Errorf("got %v, want a refusal with the error of Redis", a.result())
		}
		f.reply(nil)
		b := begin(t, c, anyCall, 0)
		b.waits(t)
		time.Sleep(time.Second)
		b.admitted(t)
	})
}

// If a call didn't run, its waiters wait on, and the next call repeats it after a backoff that grows.
func TestFailure_ACallThatDidNotRunIsRepeatedAfterABackoff(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(failing(scripts.NotRun, errTrouble))
		a := begin(t, c, anyCall, 0)
		time.Sleep(10 * time.Second)
		a.waits(t)
		calls := f.since(0)
		if len(calls) < 10 || len(calls) > 30 {
			t.Errorf("got %d calls in 10 s, want 10 to 30", len(calls))
		}
		if d := calls[1].after; d < 10*time.Millisecond || d > 30*time.Millisecond {
			t.Errorf("got the second call after %v, want 10 to 30 ms", d)
		}
		last := calls[len(calls)-1].after - calls[len(calls)-2].after
		if last < 500*time.Millisecond || last > 1500*time.Millisecond {
			t.Errorf("got the last call after %v, want 0.5 to 1.5 s", last)
		}
		f.reply(nil)
		time.Sleep(2 * time.Second)
		a.admitted(t)
	})
}

// A call whose context ends while Redis fails gets both reasons.
func TestFailure_AWaiterThatLeavesIsToldWhyRedisFails(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(failing(scripts.NotRun, errTrouble))
		a := begin(t, c, anyCall, time.Second)
		time.Sleep(time.Second)
		if !errors.Is(a.result(), context.DeadlineExceeded) || !errors.Is(a.result(), errTrouble) {
			t.Errorf("got %v, want the deadline and the error of Redis", a.result())
		}
	})
}

// If the outcome of a call is unknown, the next call repeats its settlements unless it ran, and Redis may count its
// waiters: that is withdrawn when they have left.
func TestFailure_UnknownCallRepeatsSettlementsUnlessItRan(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		a := begin(t, c, anyCall, 0)
		a.admitted(t)
		f.reply(failing(scripts.Unknown, errTrouble))
		a.Settle([]int64{4})
		b := begin(t, c, anyCall, 5*time.Millisecond)
		time.Sleep(5 * time.Millisecond)
		if !errors.Is(b.result(), context.DeadlineExceeded) {
			t.Fatalf("got %v, want the context's error", b.result())
		}
		f.reply(nil)
		time.Sleep(time.Second)
		calls := f.since(1)
		if len(calls) < 2 {
			t.Fatalf("got %d calls, want two", len(calls))
		}
		first, second := calls[0], calls[1]
		for _, call := range []fakeCall{first, second} {
			r := call.Reports
			if len(r) != 2 || r[0].Kind != scripts.UnlessRan || r[0].Seq != first.Seq || r[1].Kind != scripts.SettleCounter || r[1].Units != 4 {
				t.Errorf("call %d: got %+v, want 4 units unless call %d ran", call.Seq, r, first.Seq)
			}
		}
		if demanded(first.PoolCall) != 1 || demanded(second.PoolCall) != 0 {
			t.Errorf("got demands of %d and %d, want 1 and none", demanded(first.PoolCall), demanded(second.PoolCall))
		}
	})
}

// If Redis has lost writes, the next call restores this process's part, at once.
func TestFailure_LostStateIsRestoredAtOnce(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		for range 5 {
			begin(t, c, anyCall, 0).admitted(t)
		}
		n := len(f.since(0))
		f.reply(func(call *scripts.PoolCall) (*scripts.PoolReply, error) {
			if call.Expected != (scripts.StateVersion{}) {
				return nil, &scripts.Error{Outcome: scripts.NotRun, Err: scripts.ErrLostAll}
			}
			return replyTo(call, 1), nil
		})
		begin(t, c, anyCall, 0).admitted(t)
		calls := f.since(n)
		if len(calls) != 2 || calls[1].after != 0 || calls[0].Expected.Generation != 1 {
			t.Fatalf("got %+v, want a call that expects a state and another one at once", calls)
		}
		if r := calls[1].Reports; len(r) != 1 || r[0].Kind != scripts.BookCounter || r[0].For != 5*time.Second {
			t.Errorf("got %+v, want the counter booked for 5 s", r)
		}
	})
}

// What is restored includes blocks, and the use of daily counts as it was settled.
func TestFailure_LostStateIsRestoredWithBlocksAndDailyUse(t *testing.T) {
	bubble(t, dailyConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		a := begin(t, c, callOf(7), 0)
		a.admitted(t)
		a.Settle([]int64{-2})
		if err := c.Block(t.Context(), Block{Key: "k", For: time.Hour}); err != nil {
			t.Fatal(err)
		}
		n := len(f.since(0))
		f.reply(func(call *scripts.PoolCall) (*scripts.PoolReply, error) {
			if call.Expected != (scripts.StateVersion{}) {
				return nil, &scripts.Error{Outcome: scripts.NotRun, Err: scripts.ErrLost}
			}
			return replyTo(call, 1), nil
		})
		begin(t, c, callOf(1), 0).admitted(t)
		var restored []scripts.ReportKind
		for _, r := range f.since(n)[1].Reports {
			restored = append(restored, r.Kind)
			if r.Kind == scripts.UsedCounter && r.Units != 5 {
				t.Errorf("got %d units used, want 5", r.Units)
			}
		}
		if want := []scripts.ReportKind{scripts.CoolBlock, scripts.UsedCounter}; !slices.Equal(restored, want) {
			t.Errorf("got reports %v, want %v", restored, want)
		}
	})
}

// If a report finds that Redis has lost writes, the queue is asked for again at once, although it waits for a time.
func TestFailure_LostStateMakesTheQueueAskAgain(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		a := begin(t, c, callOf(60), 0) // booked for a minute
		a.admitted(t)
		f.reply(in(time.Hour))
		begin(t, c, anyCall, 0).waits(t)
		n := len(f.since(0))
		f.reply(func(call *scripts.PoolCall) (*scripts.PoolReply, error) {
			if call.Expected != (scripts.StateVersion{}) {
				return nil, &scripts.Error{Outcome: scripts.NotRun, Err: scripts.ErrLost}
			}
			return in(time.Hour)(call)
		})
		a.Settle([]int64{1})
		time.Sleep(time.Second)
		if calls := f.since(n); len(calls) != 2 || calls[1].after != calls[0].after {
			t.Errorf("got %+v, want a call with the report and another one at once", calls)
		}
	})
}

// A release whose report fails is reported again.
func TestFailure_AReleaseIsReportedAgain(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		a := begin(t, c, anyCall, 0)
		a.admitted(t)
		f.reply(failing(scripts.NotRun, errTrouble))
		a.Release()
		time.Sleep(20 * time.Millisecond)
		if calls := f.since(1); len(calls) != 1 {
			t.Fatalf("got %+v, want one call", calls)
		}
		f.reply(nil)
		time.Sleep(time.Second)
		if calls := f.since(2); len(calls) != 1 || calls[0].Held[0] != 0 {
			t.Errorf("got %+v, want the report again", calls)
		}
	})
}

// A waiter of a call whose outcome is unknown is withdrawn when it leaves, because Redis may count it.
func TestFailure_UnknownCallIsWithdrawn(t *testing.T) {
	cfg := limitedConfig()
	cfg.Concurrency = 0
	bubble(t, cfg, func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(failing(scripts.Unknown, errTrouble))
		a := begin(t, c, anyCall, 5*time.Millisecond)
		time.Sleep(5 * time.Millisecond)
		if err := a.result(); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the context's error", err)
		}
		f.reply(nil)
		time.Sleep(time.Second)
		if calls := f.since(1); len(calls) != 1 || demanded(calls[0].PoolCall) != 0 {
			t.Errorf("got %+v, want one call without demands", calls)
		}
	})
}

// A call that was late makes the controller forget Redis' clock, so that the next call has no deadline.
func TestFailure_ALateCallForgetsTheClock(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		begin(t, c, anyCall, 0).admitted(t)
		f.reply(failing(scripts.NotRun, scripts.ErrLate))
		a := begin(t, c, anyCall, 0)
		a.waits(t)
		f.reply(nil)
		time.Sleep(time.Second)
		a.admitted(t)
		calls := f.since(0)
		if calls[0].Deadline != 0 || calls[1].Deadline == 0 || calls[2].Deadline != 0 {
			t.Errorf("got deadlines %d, %d, %d, want one in the second call alone", calls[0].Deadline, calls[1].Deadline, calls[2].Deadline)
		}
	})
}

// A call without a reply is abandoned after two seconds, and keeps one of the four slots until the client has ended it.
func TestFailure_AbandonedCallsKeepTheirSlots(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		release := make(chan struct{})
		f.reply(func(call *scripts.PoolCall) (*scripts.PoolReply, error) {
			<-release
			return replyTo(call, 1), nil
		})
		a := begin(t, c, anyCall, time.Minute)
		time.Sleep(30 * time.Second)
		if calls := f.since(0); len(calls) != maxScriptCalls || calls[1].after < 2*time.Second {
			t.Errorf("got %d calls, want %d, the second after 2 s", len(calls), maxScriptCalls)
		}
		time.Sleep(time.Minute)
		if !strings.Contains(a.result().Error(), "no answer from Redis within 2s") {
			t.Errorf("got %v, want that Redis doesn't answer", a.result())
		}
		close(release)
	})
}

// If the lease can't be renewed, the contexts of the calls in flight end before the session does, and the observer gets
// their number. The next call has a new lease.
func TestLease_EndsCallsBeforeTheSessionEnds(t *testing.T) {
	cfg := limitedConfig()
	lost := make(chan int, 1)
	cfg.Observer.LeaseLost = func(calls int, _ error) { lost <- calls }
	bubble(t, cfg, func(t *testing.T, c *Controller, f *fakeRedis) {
		a := begin(t, c, anyCall, 0)
		a.admitted(t)
		time.Sleep(5 * time.Second) // one heartbeat renews it
		f.reply(failing(scripts.NotRun, errTrouble))
		renewed := 10 * time.Second / 3
		time.Sleep(renewed + 9500*time.Millisecond - 5*time.Second - time.Millisecond)
		if a.Lost().Err() != nil || len(lost) > 0 {
			t.Fatal("got the lease lost early, want it until 95% of the TTL after the heartbeat")
		}
		time.Sleep(time.Millisecond)
		if synctest.Wait(); a.Lost().Err() == nil || len(lost) != 1 || <-lost != 1 {
			t.Errorf("got the context's error %v, want it ended, and one call reported", a.Lost().Err())
		}
		f.reply(nil)
		time.Sleep(2 * time.Second)
		b := begin(t, c, anyCall, 0)
		if b.admitted(t); b.Lost().Err() != nil {
			t.Error("got a lease that is lost, want a new one")
		}
	})
}

// Where calls go on without their permits, they have no lease.
func TestLease_NoneIfCallsGoOnWithoutIt(t *testing.T) {
	cfg := limitedConfig()
	cfg.ContinueOnLeaseLoss = true
	bubble(t, cfg, func(t *testing.T, c *Controller, f *fakeRedis) {
		a := begin(t, c, anyCall, 0)
		if a.admitted(t); a.Lost() != nil {
			t.Error("got a lease, want none")
		}
	})
}

// Close returns every permit once the last call has ended.
func TestClose_ReturnsPermitsAfterTheLastCall(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		a := begin(t, c, anyCall, 0)
		a.admitted(t)
		closed := make(chan error, 1)
		go func() { closed <- c.Close(t.Context()) }()
		time.Sleep(time.Second)
		if len(closed) > 0 {
			t.Fatal("got closed, want it to wait for the call in flight")
		}
		n := len(f.since(0))
		a.Release()
		if synctest.Wait(); len(closed) != 1 {
			t.Fatal("got no return, want it after the last call")
		}
		if err := <-closed; err != nil {
			t.Errorf("got %v, want no error", err)
		}
		if calls := f.since(n); len(calls) != 1 || calls[0].Held[0] != 0 {
			t.Errorf("got %+v, want one call that reports no permits", calls)
		}
	})
}

// Close gives up when its context ends, and says how many calls are in flight.
func TestClose_EndsWithItsContext(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		begin(t, c, anyCall, 0).admitted(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Close(ctx); err == nil || !strings.Contains(err.Error(), "closed with 1 calls in flight") {
			t.Errorf("got %v, want that a call is in flight", err)
		}
	})
}

// Close gives up after three calls that fail, and says how many permits stay taken and why.
func TestClose_GivesUpAfterThreeFailures(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		a := begin(t, c, anyCall, 0)
		a.admitted(t)
		f.reply(failing(scripts.NotRun, errTrouble))
		a.Release()
		if err := c.Close(t.Context()); !errors.Is(err, errTrouble) || !strings.Contains(err.Error(), "up to 1 permits stay taken") {
			t.Errorf("got %v, want the permit and the error of Redis", err)
		}
		if calls := f.since(1); len(calls) != maxCloseAttempts {
			t.Errorf("got %d calls, want %d", len(calls), maxCloseAttempts)
		}
	})
}

// Failures before Close don't count as attempts of Close.
func TestClose_TriesAlsoAfterFailures(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		a := begin(t, c, anyCall, 0)
		a.admitted(t)
		f.reply(failing(scripts.NotRun, errTrouble))
		a.Release()
		time.Sleep(10 * time.Second)
		if calls := f.since(1); len(calls) <= maxCloseAttempts {
			t.Fatalf("got %d failures, want more than %d", len(calls), maxCloseAttempts)
		}
		f.reply(nil)
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("got %v, want no error", err)
		}
	})
}

// An order that Redis can't confirm ends with its context, and with the controller.
func TestClose_EndsOrders(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(failing(scripts.NotRun, errTrouble))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Block(ctx, Block{Key: "k", For: time.Hour}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		ended := make(chan error, 1)
		go func() { ended <- c.Unblock(t.Context(), "k", "") }()
		synctest.Wait()
		_ = c.Close(t.Context())
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}
