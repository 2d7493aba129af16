package caller_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

func TestCost_ThatNeverFitsIsRefused(t *testing.T) {
	t.Parallel()
	c := join(t, unreachable(t), limits(perMinute(10), caller.Limit{Metric: caller.Tokens, Rate: 1000, Period: time.Minute}))
	for name, cost := range map[string]caller.Cost{
		"requests": {caller.Requests: 11},
		"tokens":   {caller.Tokens: 1001},
		"negative": {caller.Tokens: -1},
	} {
		var e *caller.Error
		_, err := caller.Do(t.Context(), c, cost, nop)
		if !errors.As(err, &e) || e.Pool != "p" || e.Metric == "" || cost[e.Metric] != e.Cost || e.Limit == 0 || e.Attempts != 0 {
			t.Errorf("%s: got %#v", name, err)
		}
		if errors.Is(err, caller.ErrNeverFits) != (name != "negative") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if s := c.Stats(); s.Attempts != 0 || s.CallsWaiting != 0 {
		t.Errorf("stats %+v", s)
	}
}

// A call without capacity before its deadline is refused at once, whatever waits already, and its error names the limit.
func TestDeadline_IsRefusedBehindOthers(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		c := join(t, rdb, limits(caller.Limit{Metric: caller.Requests, Rate: 1, Period: time.Hour}))
		if _, err := caller.Do(t.Context(), c, nil, nop); err != nil {
			t.Fatal(err)
		}
		patient, stop := context.WithCancel(t.Context())
		waited := make(chan error)
		go func() {
			_, err := caller.Do(patient, c, nil, nop)
			waited <- err
		}()
		testkit.Eventually(t, "one waits", func() bool { return c.Stats().CallsWaiting == 1 })
		_, err := caller.Do(testkit.Context(t), c, nil, nop)
		var e *caller.Error
		if !errors.Is(err, caller.ErrDeadline) || !errors.As(err, &e) || e.Metric != caller.Requests || e.Limit != 1 || e.Cost != 1 {
			t.Fatalf("got %v, want ErrDeadline and the limit", err)
		}
		if e.RetryAfter < 50*time.Minute || e.RetryAfter > time.Hour+time.Minute {
			t.Errorf("retry after %v, want about an hour", e.RetryAfter)
		}
		stop()
		if err := <-waited; !errors.Is(err, context.Canceled) {
			t.Errorf("the one who waits got %v", err)
		}
	})
}

// A large call may be admitted far ahead of its send time. If that is after its deadline, the call is refused at once.
func TestDeadline_ASendTimeBehindItIsRefused(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		c := join(t, rdb, concurrency(1), limits(caller.Limit{Metric: caller.Tokens, Rate: 1000, Period: time.Hour, Burst: 2}))
		if _, err := caller.Do(t.Context(), c, caller.Cost{caller.Tokens: 1}, nop); err != nil {
			t.Fatal(err)
		}
		_, err := caller.Do(testkit.Context(t), c, caller.Cost{caller.Tokens: 900}, nop)
		var e *caller.Error
		if !errors.Is(err, caller.ErrDeadline) || !errors.As(err, &e) || e.Metric != caller.Tokens || e.RetryAfter < 10*time.Minute {
			t.Errorf("got %v, want ErrDeadline", err)
		}
		testkit.Eventually(t, "its permit is back", func() bool { held, waiting := inRedis(t, rdb, "p"); return held+waiting == 0 })
	})
}

// A call whose context ends at any moment leaves no permit behind.
func TestCancel_LeavesNoPermit(t *testing.T) {
	t.Parallel()
	stop := errors.New("changed my mind")
	type moment struct {
		before func(*redistest.Faults, context.CancelFunc)
		hooks  func(context.CancelFunc) caller.Hooks
	}
	evals := redistest.Contains("eval")
	for name, m := range map[string]moment{
		"before the question": {before: func(f *redistest.Faults, cancel context.CancelFunc) { f.Before(evals, cancel) }},
		"before the answer":   {before: func(f *redistest.Faults, cancel context.CancelFunc) { f.After(evals, cancel) }},
		"just admitted": {hooks: func(cancel context.CancelFunc) caller.Hooks {
			return caller.Hooks{Admitted: func(context.Context, caller.Admission) { cancel() }}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Client(t)
			ctx, cause := context.WithCancelCause(t.Context())
			cancel := func() { cause(stop) }
			defer cancel()
			faults := redistest.NewFaults(t)
			c := join(t, faults.Client(t, rdb.Options()), concurrency(2), func(cfg *caller.Config) {
				if m.hooks != nil {
					cfg.Hooks = m.hooks(cancel)
				}
			})
			if m.before != nil {
				m.before(faults, cancel)
			}
			_, err := caller.Do(ctx, c, nil, func(ctx context.Context, _ *caller.Grant) (int, error) { return 0, ctx.Err() })
			if !errors.Is(err, stop) || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "changed my mind") {
				t.Errorf("got %v", err)
			}
			if s := c.Stats(); s.CallsInFlight+s.CallsWaiting != 0 {
				t.Errorf("stats %+v", s)
			}
			testkit.Eventually(t, "Redis knows of no permit", func() bool { held, waiting := inRedis(t, rdb, "p"); return held+waiting == 0 })
		})
	}
}

// Many callers with deadlines all around the moment of their admission: what is charged and held adds up in the end.
func TestDeadline_AtTheMomentOfAdmission(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		c := join(t, rdb, concurrency(3), limits(caller.Limit{Metric: caller.Requests, Rate: 100, Period: time.Second}))
		done := make(chan error)
		for i := range 150 {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i*5)*time.Millisecond)
				defer cancel()
				_, err := caller.Do(ctx, c, nil, nop)
				if err != nil && !errors.Is(err, caller.ErrDeadline) && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("call %d: got %v, want success, ErrDeadline or context.DeadlineExceeded", i, err)
				}
				done <- err
			}()
		}
		for range 150 {
			<-done
		}
		if s := c.Stats(); s.CallsInFlight+s.CallsWaiting != 0 || s.CallsSucceeded+s.CallsFailed != 150 {
			t.Errorf("stats %+v", s)
		}
		testkit.Eventually(t, "Redis knows of no permit", func() bool { held, waiting := inRedis(t, rdb, "p"); return held+waiting == 0 })
	})
}
