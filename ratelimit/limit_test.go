package ratelimit_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/ratelimit"
)

// TestLimit_UnlimitedAndBlockedNeedNoRedis makes calls on limits whose answer is always the same.
func TestLimit_UnlimitedAndBlockedNeedNoRedis(t *testing.T) {
	faults, l, _ := faulty(t, ratelimit.Config{})
	faults.Refuse()
	free, none := ratelimit.Unlimited(), ratelimit.Blocked()
	ctx := t.Context()
	if res, err := l.AllowN(ctx, "k", free, math.MaxInt); err != nil || res.Allowed != math.MaxInt {
		t.Errorf("unlimited: got %+v, %v; want all allowed", res, err)
	}
	for _, limit := range []ratelimit.Limit{none, {Rate: 10, Period: time.Hour}} {
		if res, err := l.Allow(ctx, "k", limit); err != nil || res.Allowed != 0 || res.RetryAfter != math.MaxInt64 {
			t.Errorf("blocked: got %+v, %v; want a refusal for ever", res, err)
		}
	}
	a, err := l.Admit(ctx, ratelimit.Charge{Key: "a", Limit: free, Cost: 1}, ratelimit.Charge{Key: "b", Limit: none, Cost: 1})
	if err != nil || a.Allowed || a.Refused != 1 {
		t.Errorf("got %+v, %v; want a refusal by the second charge", a, err)
	}
	if err := l.Wait(ctx, "k", free); err != nil {
		t.Errorf("unlimited: got %v, want no error", err)
	}
	if err := l.Wait(ctx, "k", none); !errors.Is(err, ratelimit.ErrNeverFits) {
		t.Errorf("blocked: got %v, want ErrNeverFits", err)
	}
	r, err := l.Reserve(ctx, ratelimit.Charge{Key: "k", Limit: free, Cost: 1})
	if err != nil || r.Delay() != 0 || r.Settle(7) != nil {
		t.Errorf("unlimited: got %v, want a booking for now", err)
	}
}

// TestReserve_SettlesBesideUnlimited settles a booking on an unlimited limit and on one in Redis.
func TestReserve_SettlesBesideUnlimited(t *testing.T) {
	l := ratelimit.NewLimiter(redistest.Client(t))
	limit := ratelimit.PerHour(10)
	r, err := l.Reserve(t.Context(), ratelimit.Charge{Key: "free", Limit: ratelimit.Unlimited(), Cost: 5},
		ratelimit.Charge{Key: "k", Limit: limit, Cost: 6})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Settle(9, 2); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the settlement arrives", func() bool {
		res, err := l.Peek(t.Context(), "k", limit)
		return err == nil && res.Remaining == 8
	})
}

// TestNew_RefusesNilClient passes nil and a nil pointer.
func TestNew_RefusesNilClient(t *testing.T) {
	if _, err := ratelimit.New(nil, ratelimit.Config{}); !errors.Is(err, ratelimit.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
	if _, err := ratelimit.NewLimiter(nil).Allow(t.Context(), "k", ratelimit.PerSecond(1)); !errors.Is(err, ratelimit.ErrInvalid) {
		t.Errorf("got %v from a call, want ErrInvalid", err)
	}
}

// TestAllowAtMost_StaysWithinBurst makes many calls with the largest costs at once.
func TestAllowAtMost_StaysWithinBurst(t *testing.T) {
	l := ratelimit.NewLimiter(redistest.Client(t))
	limit := ratelimit.PerHour(10)
	var wg sync.WaitGroup
	var total atomic.Int64
	start := make(chan struct{})
	for i := range 6000 {
		wg.Go(func() {
			<-start
			cost := 1 << 52
			if i%2 == 0 {
				cost = math.MaxInt
			}
			res, err := l.AllowAtMost(t.Context(), "k", limit, cost)
			if err != nil || res.Allowed < 0 || res.Allowed > 10 {
				t.Errorf("got %+v, %v; want 0 to 10 allowed", res, err)
				return
			}
			total.Add(int64(res.Allowed))
		})
	}
	close(start)
	wg.Wait()
	if n := total.Load(); n != 10 {
		t.Errorf("got %d units, want 10", n)
	}
}

// TestSettle_SaturatesHugeCost settles for costs that take longer to refill than a Duration holds: no later call is
// admitted.
func TestSettle_SaturatesHugeCost(t *testing.T) {
	l := ratelimit.NewLimiter(redistest.Client(t))
	limit := ratelimit.PerHour(100)
	for _, cost := range []int{300_000_000, 1 << 40, 1 << 52} {
		r, err := l.Reserve(t.Context(), ratelimit.Charge{Key: "k", Limit: limit, Cost: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Settle(cost); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the debt arrives", func() bool {
			res, err := l.Peek(t.Context(), "k", limit)
			return err == nil && res.Remaining == 0
		})
		ctx, cancel := context.WithCancel(t.Context())
		waits := make(chan error, 1)
		go func() { waits <- l.Wait(ctx, "k", limit) }()
		select {
		case err := <-waits:
			t.Errorf("cost %d: got %v, want a wait", cost, err)
		case <-time.After(50 * time.Millisecond):
		}
		cancel()
		if r, err := l.Reserve(t.Context(), ratelimit.Charge{Key: "k", Limit: limit, Cost: 1}); err != nil || r.Delay() < 1e6*time.Hour {
			t.Errorf("cost %d: got %v, want a booking in over a century", cost, err)
		}
		if err := l.Reset(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestObserve_RefusesFarReset observes a reset in milliseconds taken for seconds.
func TestObserve_RefusesFarReset(t *testing.T) {
	l := ratelimit.NewLimiter(redistest.Client(t))
	err := l.Observe("k", ratelimit.PerMinute(60), ratelimit.Quota{Reset: time.Unix(time.Now().UnixMilli(), 0)})
	if !errors.Is(err, ratelimit.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}

// TestWaitWithin_BoundsOneCall bounds the wait of one call on a limit that others wait for longer.
func TestWaitWithin_BoundsOneCall(t *testing.T) {
	l := ratelimit.NewLimiter(redistest.Client(t))
	charge := ratelimit.Charge{Key: "k", Limit: ratelimit.PerHour(1), Cost: 1}
	if err := l.WaitWithin(t.Context(), 0, charge); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitWithin(t.Context(), time.Minute, charge); !errors.Is(err, ratelimit.ErrMaxWait) {
		t.Errorf("got %v, want ErrMaxWait", err)
	}
	if _, err := l.ReserveWithin(t.Context(), math.MaxInt64-1, charge); err != nil {
		t.Errorf("got %v, want a booking", err)
	}
}

// TestContext_ErrorHasCause ends a wait by a cause.
func TestContext_ErrorHasCause(t *testing.T) {
	l := ratelimit.NewLimiter(redistest.Client(t))
	limit := ratelimit.PerHour(1)
	if err := l.Wait(t.Context(), "k", limit); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
	if err := l.Wait(ctx, "k", limit); !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
		t.Errorf("got %v, want context.Canceled and the cause", err)
	}
}

// TestCancel_KeepsUsedBooking cancels after use, as with a deferred Cancel.
func TestCancel_KeepsUsedBooking(t *testing.T) {
	l := ratelimit.NewLimiter(redistest.Client(t))
	limit := ratelimit.PerHour(3)
	for range 3 {
		r := reserve(t, l, limit, 1)
		time.Sleep(r.Delay())
		r.Cancel()
	}
	if err := l.WaitWithin(t.Context(), time.Minute, ratelimit.Charge{Key: "k", Limit: limit, Cost: 1}); !errors.Is(err, ratelimit.ErrMaxWait) {
		t.Errorf("got %v, want ErrMaxWait: a used booking was given back", err)
	}
	if err := reserve(t, l, limit, 1).Settle(0); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}
