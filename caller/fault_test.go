package caller_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/scripts"
)

// charged returns how many calls Redis has charged to the pool's only counter: its theoretical arrival time over the
// interval between calls.
func charged(t *testing.T, rdb *redis.Client, interval time.Duration) int {
	t.Helper()
	fields := rdb.HGetAll(t.Context(), scripts.PoolKey("p")).Val()
	now := time.Since(time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)).Seconds()
	for name, value := range fields {
		if strings.HasPrefix(name, "t:") {
			tat, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int((tat-now)/interval.Seconds() + 1) // rounded up: a little time has passed
		}
	}
	t.Fatalf("got no counter in %v, want one", fields)
	return 0
}

// prime gives the server the script, so that one script call is one command.
func prime(t *testing.T, rdb *redis.Client) {
	t.Helper()
	c := join(t, redistest.Another(t, rdb), func(cfg *caller.Config) { cfg.Name = "other" })
	if _, err := caller.Do(testkit.Context(t), c, nil, nop); err != nil {
		t.Fatal(err)
	}
}

// Whatever happens to one script call, the call succeeds, is charged once, or at most twice if the reply was lost, and
// leaves no permit.
func TestFault_OfOneScriptCallIsHidden(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault func(*redistest.Faults, redistest.Match) *redistest.Rule
		most  int
	}{
		"reset before sending": {(*redistest.Faults).Reset, 1},
		"reply lost":           {(*redistest.Faults).LoseReply, 2},
		"reply late":           {(*redistest.Faults).HoldReply, 2},
		"command late":         {(*redistest.Faults).HoldCommand, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Client(t)
			prime(t, rdb)
			faults := redistest.NewFaults(t)
			rule := test.fault(faults, redistest.Nth(1, redistest.Contains("eval")))
			var mu sync.Mutex
			var failures []error
			limit := caller.Limit{Metric: caller.Requests, Rate: 12, Period: 10 * time.Hour, Burst: 3} // one an hour
			c := join(t, faults.Client(t, rdb.Options()), concurrency(2), limits(limit), func(cfg *caller.Config) {
				cfg.Hooks.RedisFailed = func(_ context.Context, err error) {
					mu.Lock()
					defer mu.Unlock()
					failures = append(failures, err)
				}
			})
			if _, err := caller.Do(testkit.Context(t), c, nil, nop); err != nil {
				t.Fatal(err)
			}
			rule.Wait(t, 1)
			rule.Release() // what was held arrives now, long after a newer call
			testkit.Eventually(t, "all permits are back", func() bool { held, waiting := inRedis(t, rdb, "p"); return held+waiting == 0 })
			if n := charged(t, rdb, time.Hour); n < 1 || n > test.most {
				t.Errorf("charged %d times, want 1 to %d", n, test.most)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(failures) == 0 {
				t.Error("got no call of Hooks.RedisFailed, want one")
			}
		})
	}
}

// If the first reply is slow, the process estimates Redis' time badly. Later replies correct the estimate.
func TestFault_OfASlowFirstReplyPasses(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	prime(t, rdb)
	faults := redistest.NewFaults(t)
	evals := redistest.Contains("eval")
	slow := faults.After(redistest.Nth(1, evals), func() { time.Sleep(1500 * time.Millisecond) }) // above callTimeout
	c := join(t, faults.Client(t, rdb.Options()))
	for range 3 {
		if _, err := caller.Do(testkit.Context(t), c, nil, nop); err != nil {
			t.Fatal(err)
		}
	}
	slow.Wait(t, 1)
}

// If Redis never replies, calls and Close return by their own deadlines, and not after the client's timeouts.
func TestFault_BlackholeKeepsDeadlines(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	faults := redistest.NewFaults(t)
	c, err := caller.New(faults.Client(t, rdb.Options()), caller.Config{Name: "p", Keys: []caller.Key{key("k")}, Concurrency: 5})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := caller.Do(testkit.Context(t), c, nil, nop); err != nil {
		t.Fatal(err)
	}
	end := hold(t, c)
	faults.Blackhole()
	begun := time.Now()
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := caller.Do(ctx, c, nil, nop)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v for a call, want context.DeadlineExceeded", err)
		}
	}
	end()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.Close(ctx); err == nil || !strings.Contains(err.Error(), "permits stay taken") {
		t.Errorf("got %v from Close, want an error that counts the permits", err)
	}
	if d := time.Since(begun); d > 2900*time.Millisecond { // go-redis' read timeout is 3 s, for each
		t.Errorf("got an end after %v, want it by the deadlines", d)
	}
}

// While Redis is unreachable, Close returns by its deadline, also if the process is subscribed to messages or
// subscribes.
func TestFault_CloseReturnsWithoutRedis(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*redistest.Faults){
		"blackhole": (*redistest.Faults).Blackhole,
		"refused":   (*redistest.Faults).Refuse,
		"cut":       func(f *redistest.Faults) { f.Blackhole(); f.Cut() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Client(t)
			faults := redistest.NewFaults(t)
			c, err := caller.New(faults.Client(t, rdb.Options()), caller.Config{Name: "p", Keys: []caller.Key{key("k")}, Concurrency: 1})
			if err != nil {
				t.Fatal(err)
			}
			end := hold(t, c)
			waiter := make(chan error)
			go func() {
				_, err := caller.Do(context.Background(), c, nil, nop)
				waiter <- err
			}()
			testkit.Eventually(t, "one waits", func() bool { _, waiting := inRedis(t, rdb, "p"); return waiting == 1 })
			fault(faults)
			begun := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := c.Close(ctx); err == nil || !strings.Contains(err.Error(), "in flight") {
				t.Errorf("got %v from Close, want an error that counts the calls in flight", err)
			}
			if d := time.Since(begun); d > 2900*time.Millisecond {
				t.Errorf("got the end of Close after %v, want it by its deadline", d)
			}
			if err := <-waiter; !errors.Is(err, caller.ErrClosed) {
				t.Errorf("the waiter got %v", err)
			}
			end()
		})
	}
}

// After an outage, waiting calls are admitted and permits are counted right.
func TestFault_OutageDelaysCalls(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*redistest.Faults){
		"blackhole": (*redistest.Faults).Blackhole,
		"refused":   (*redistest.Faults).Refuse,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Client(t)
			faults := redistest.NewFaults(t)
			opts := rdb.Options()
			opts.DialerRetries = 1
			c := join(t, faults.Client(t, opts), concurrency(3))
			end := hold(t, c)
			fault(faults)
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					if _, err := caller.Do(testkit.Context(t), c, nil, nop); err != nil {
						t.Error(err)
					}
				})
			}
			testkit.Eventually(t, "all wait", func() bool { return c.Stats().CallsWaiting == 10 })
			end()
			faults.Heal()
			wg.Wait()
			testkit.Eventually(t, "all permits are back", func() bool { held, waiting := inRedis(t, rdb, "p"); return held+waiting == 0 })
		})
	}
}

// If a third of the script calls of three processes fail, the concurrency limit holds and every permit returns.
func TestFault_OfManyScriptCallsKeepsTheConcurrency(t *testing.T) {
	t.Parallel()
	const limit = 3
	rdb := redistest.Client(t)
	load := newLoad(limit)
	var wg sync.WaitGroup
	for range 3 {
		faults := redistest.NewFaults(t)
		evals := redistest.Contains("eval")
		var mu sync.Mutex
		n := 0
		every := func(rest int) redistest.Match {
			return func(sent []byte) bool {
				mu.Lock()
				defer mu.Unlock()
				return evals(sent) && n%6 == rest
			}
		}
		faults.Before(evals, func() { mu.Lock(); defer mu.Unlock(); n++ })
		faults.LoseReply(every(2))
		faults.Reset(every(4))
		c := join(t, faults.Client(t, rdb.Options()), concurrency(limit))
		for range 20 {
			wg.Go(func() {
				if _, err := caller.Do(testkit.Context(t), c, nil, load.call); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	load.check(t)
	testkit.Eventually(t, "all permits are back", func() bool { held, waiting := inRedis(t, rdb, "p"); return held+waiting == 0 })
}
