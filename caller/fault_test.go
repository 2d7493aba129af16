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
	t.Fatalf("no counter in %v", fields)
	return 0
}

// prime gives the server the script, so that one script call is one command.
func prime(t *testing.T, rdb *redis.Client) {
	t.Helper()
	c := join(t, redistest.Another(t, rdb), func(cfg *caller.Config) { cfg.Name = "other" })
	if _, err := caller.Do(within(t, patience), c, nil, nop); err != nil {
		t.Fatal(err)
	}
}

// Whatever becomes of one script call, the caller sees a success, its cost is charged once or, if the reply was lost,
// at most twice, and no permit is left behind.
func TestOneBrokenScriptCall(t *testing.T) {
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
				cfg.Hooks.RedisFailed = func(err error) {
					mu.Lock()
					defer mu.Unlock()
					failures = append(failures, err)
				}
			})
			if _, err := caller.Do(within(t, patience), c, nil, nop); err != nil {
				t.Fatal(err)
			}
			rule.Wait(t, 1)
			rule.Release() // what was held arrives now, long after a newer call
			eventually(t, "all permits are back", func() bool { held, waiting := inRedis(t, rdb, "p"); return held+waiting == 0 })
			if n := charged(t, rdb, time.Hour); n < 1 || n > test.most {
				t.Errorf("charged %d times, want 1 to %d", n, test.most)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(failures) == 0 {
				t.Error("nobody was told of the failure")
			}
		})
	}
}

// A first answer that is long under way leaves the process with a bad idea of Redis' time. It recovers from it.
func TestTheFirstAnswerIsSlow(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	prime(t, rdb)
	faults := redistest.NewFaults(t)
	evals := redistest.Contains("eval")
	slow := faults.After(redistest.Nth(1, evals), func() { time.Sleep(1500 * time.Millisecond) }) // above callTimeout
	c := join(t, faults.Client(t, rdb.Options()))
	for range 3 {
		if _, err := caller.Do(within(t, patience), c, nil, nop); err != nil {
			t.Fatal(err)
		}
	}
	slow.Wait(t, 1)
}

// A Redis that swallows everything: calls return by their deadlines, Close by its own, and nothing waits for the
// client's timeouts.
func TestBlackhole(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	faults := redistest.NewFaults(t)
	c, err := caller.New(faults.Client(t, rdb.Options()), caller.Config{Name: "p", Keys: []caller.Key{key("k")}, Concurrency: 5})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := caller.Do(within(t, patience), c, nil, nop); err != nil {
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
			t.Errorf("a call: %v", err)
		}
	}
	end()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.Close(ctx); err == nil || !strings.Contains(err.Error(), "permits stay taken") {
		t.Errorf("Close: %v", err)
	}
	if d := time.Since(begun); d > 2900*time.Millisecond { // go-redis' read timeout is 3 s, for each
		t.Errorf("all of it took %v", d)
	}
}

// Close doesn't wait for a Redis that is away, also where the process listens for permits, or is about to.
func TestCloseWhileRedisIsAway(t *testing.T) {
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
			eventually(t, "one waits", func() bool { _, waiting := inRedis(t, rdb, "p"); return waiting == 1 })
			fault(faults)
			begun := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := c.Close(ctx); err == nil || !strings.Contains(err.Error(), "in flight") {
				t.Errorf("Close: %v", err)
			}
			if d := time.Since(begun); d > 2900*time.Millisecond {
				t.Errorf("Close took %v", d)
			}
			if err := <-waiter; !errors.Is(err, caller.ErrClosed) {
				t.Errorf("the waiter got %v", err)
			}
			end()
		})
	}
}

// After an outage everything goes on: waiters are admitted, permits are right.
func TestOutageAndReturn(t *testing.T) {
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
					if _, err := caller.Do(within(t, patience), c, nil, nop); err != nil {
						t.Error(err)
					}
				})
			}
			eventually(t, "all wait", func() bool { return c.Stats().CallsWaiting == 10 })
			end()
			faults.Heal()
			wg.Wait()
			eventually(t, "all permits are back", func() bool { held, waiting := inRedis(t, rdb, "p"); return held+waiting == 0 })
		})
	}
}

// Calls that are lost one in three, in both directions, by three processes: no more in flight than the limit says, and
// every permit back in the end.
func TestManyBrokenScriptCalls(t *testing.T) {
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
				if _, err := caller.Do(within(t, patience), c, nil, load.call); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	load.check(t)
	eventually(t, "all permits are back", func() bool { held, waiting := inRedis(t, rdb, "p"); return held+waiting == 0 })
}
