package caller_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// However many processes and calls there are, no more are in flight than the limit says, and each process gets some.
func TestConcurrency_IsNeverExceeded(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		load := newLoad(4)
		var wg sync.WaitGroup
		for range 3 {
			c := join(t, redistest.Another(t, rdb), concurrency(4))
			for range 60 {
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
	})
}

// A process that is cut off from Redis loses its permits after the TTL, and no earlier.
func TestPermits_OfADeadProcessComeBackAfterTheTTL(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	faults := redistest.NewFaults(t)
	short := func(cfg *caller.Config) { cfg.Tuning.SessionTTL = time.Second }
	dead := join(t, faults.Client(t, rdb.Options()), concurrency(2), short)
	begun := time.Now()
	hold(t, dead)
	end := hold(t, dead)
	faults.Blackhole()
	c := join(t, redistest.Another(t, rdb), concurrency(2), short)
	if _, err := caller.Do(testkit.Context(t), c, nil, nop); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begun); d < 900*time.Millisecond {
		t.Errorf("got the permits after %v, want them after SessionTTL", d)
	}
	// The dead one comes back to life: it holds what it holds, and gives it back.
	faults.Heal()
	end()
	testkit.Eventually(t, "Redis knows of the other call", func() bool { held, _ := inRedis(t, rdb, "p"); return held == 1 })
}

// The heartbeat keeps permits for as long as the call takes.
func TestPermits_OfLongCallsStay(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	short := func(cfg *caller.Config) { cfg.Tuning.SessionTTL = time.Second }
	a := join(t, redistest.Another(t, rdb), concurrency(1), short)
	b := join(t, redistest.Another(t, rdb), concurrency(1), short)
	end := hold(t, a)
	_, err := caller.Do(testkit.ContextFor(t, 3*time.Second), b, nil, nop)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("another process got %v while the permit was held", err)
	}
	end()
	if _, err := caller.Do(testkit.Context(t), b, nil, nop); err != nil {
		t.Error(err)
	}
}

// A permit that comes back is used at once, also where another account waits for a rate for much longer.
func TestPermits_AReleaseIsUsedWhileAnotherAccountIsRateLimited(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for _, holder := range []string{"here", "there"} {
			t.Run(holder, func(t *testing.T) {
				t.Parallel()
				change := func(cfg *caller.Config) {
					cfg.Name = "p" + holder
					cfg.Keys = []caller.Key{key("a"), key("b")}
					cfg.Concurrency = 1
					cfg.Tuning.SessionTTL = time.Hour // no heartbeat finds it by chance
					cfg.Limits = []caller.Limit{{Metric: caller.Requests, Rate: 10, Period: 1000 * time.Hour, Burst: 3}}
				}
				here, there := join(t, redistest.Another(t, rdb), change), join(t, redistest.Another(t, rdb), change)
				end := hold(t, map[string]*caller.Pool{"here": here, "there": there}[holder])
				for range 3 { // all that the other account allows
					if _, err := caller.Do(testkit.Context(t), here, nil, nop); err != nil {
						t.Fatal(err)
					}
				}
				waited := make(chan error)
				go func() {
					_, err := caller.Do(testkit.Context(t), here, nil, nop)
					waited <- err
				}()
				testkit.Eventually(t, "it waits", func() bool { _, waiting := inRedis(t, rdb, "p"+holder); return waiting == 1 })
				end()
				if err := <-waited; err != nil {
					t.Error(err)
				}
			})
		}
	})
}
