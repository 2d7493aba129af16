package caller_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// If Redis can't serve for a while (LOADING and others), calls wait and are charged once.
func TestFault_PassingErrorsOfRedisAreHidden(t *testing.T) {
	t.Parallel()
	busy := func(t *testing.T, rdb *redis.Client) {
		set(t, rdb, "lua-time-limit", "5")
		go rdb.Eval(context.Background(), "while true do end", nil) // ends when it is killed
		testkit.Eventually(t, "Redis is busy", func() bool { return redis.HasErrorPrefix(rdb.Ping(context.Background()).Err(), "BUSY") })
	}
	for name, test := range map[string]struct {
		begin, end func(*testing.T, *redis.Client)
	}{
		"READONLY": {
			func(t *testing.T, rdb *redis.Client) { do(t, rdb, "replicaof", "127.0.0.1", "1") },
			func(t *testing.T, rdb *redis.Client) { do(t, rdb, "replicaof", "no", "one") },
		},
		"MASTERDOWN": {
			func(t *testing.T, rdb *redis.Client) {
				set(t, rdb, "replica-serve-stale-data", "no")
				do(t, rdb, "replicaof", "127.0.0.1", "1")
			},
			func(t *testing.T, rdb *redis.Client) { do(t, rdb, "replicaof", "no", "one") },
		},
		"NOREPLICAS": {
			func(t *testing.T, rdb *redis.Client) {
				set(t, rdb, "min-replicas-to-write", "1")
				if rdb.Eval(t.Context(), "return redis.call('SET', 'probe', 'x')", nil).Err() == nil {
					t.Skip("this server lets scripts write nevertheless")
				}
			},
			func(t *testing.T, rdb *redis.Client) { set(t, rdb, "min-replicas-to-write", "0") },
		},
		"OOM": {
			func(t *testing.T, rdb *redis.Client) { set(t, rdb, "maxmemory", "1") },
			func(t *testing.T, rdb *redis.Client) { set(t, rdb, "maxmemory", "0") },
		},
		"BUSY": {busy, func(t *testing.T, rdb *redis.Client) { do(t, rdb, "script", "kill") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			rdb := server.Client(t)
			refused := make(chan error, 1000)
			limit := caller.Limit{Metric: caller.Requests, Rate: 12, Period: 10 * time.Hour, Burst: 3} // one an hour
			c := join(t, server.Client(t), concurrency(2), limits(limit), func(cfg *caller.Config) {
				cfg.Hooks.RedisFailed = func(_ context.Context, err error) { refused <- err }
			})
			if _, err := caller.Do(testkit.Context(t), c, nil, nop); err != nil {
				t.Fatal(err)
			}
			test.begin(t, rdb)
			ended := make(chan error, 1)
			go func() {
				_, err := caller.Do(testkit.Context(t), c, nil, nop)
				ended <- err
			}()
			for seen := 0; seen < 3; { // it is tried again
				select {
				case err := <-refused:
					if strings.Contains(err.Error(), name) {
						seen++
					}
				case err := <-ended:
					t.Fatalf("got %v at once, want the call to wait", err)
				case <-time.After(testkit.Patience):
					t.Fatalf("got no refusal with %s, want one", name)
				}
			}
			test.end(t, rdb)
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if n := charged(t, rdb, time.Hour); n != 2 {
				t.Errorf("charged %d times, want 2", n)
			}
		})
	}
}

// While Redis hangs, calls come and go by their deadlines, and nothing gathers: neither goroutines nor waiters.
func TestRedisHangs_NothingGathers(t *testing.T) {
	rdb := redistest.Client(t)
	faults := redistest.NewFaults(t)
	c, err := caller.New(faults.Client(t, rdb.Options()), caller.Config{Name: "p", Keys: []caller.Key{key("k")}, Concurrency: 5})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := caller.Do(testkit.Context(t), c, nil, nop); err != nil {
		t.Fatal(err)
	}
	faults.Blackhole()
	before := runtime.NumGoroutine()
	for range 5 {
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				if _, err := caller.Do(ctx, c, nil, nop); err == nil {
					t.Error("got an admission without Redis, want none")
				}
			})
		}
		wg.Wait()
	}
	if after := runtime.NumGoroutine(); after > before+20 {
		t.Errorf("got %d goroutines, want at most 20 more than %d", after, before)
	}
	if n := c.Stats().CallsWaiting; n != 0 {
		t.Errorf("got %d calls waiting, want 0", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_ = c.Close(ctx)
	faults.Heal()
}

// If Redis loses everything several times, no call is lost. The excess is at most what a fresh limit admits.
func TestFault_LostStateAdmitsABoundedExcess(t *testing.T) {
	for name, lose := range map[string]func(*testing.T, *redistest.Server, *redis.Client){
		"FLUSHALL": func(t *testing.T, _ *redistest.Server, rdb *redis.Client) { do(t, rdb, "flushall") },
		"restart":  func(_ *testing.T, s *redistest.Server, _ *redis.Client) { s.Restart() },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			onNodes(t, 2, func() redis.UniversalClient { return server.Client(t) }, func(goesOn func()) {
				for range 3 {
					lose(t, server, server.Client(t))
					goesOn()
				}
			})
		})
	}
}

// A cooldown is never shorter than the provider says, a little longer at most, and not the same for all.
func TestCooldown_IsSpreadAboveTheFloor(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	var all []caller.Key
	for i := range 20 {
		all = append(all, key(fmt.Sprint("k", i)))
	}
	const floor = 10 * time.Second
	cooled := map[time.Duration]int{}
	c := join(t, rdb, keys(all...), func(cfg *caller.Config) {
		cfg.Retry.Attempts = 1
		cfg.Hooks.CooledDown = func(_ context.Context, c caller.Block) { cooled[c.For]++ }
	})
	for range all {
		_, err := caller.Do(testkit.Context(t), c, nil, func(context.Context, *caller.Grant) (int, error) {
			return 0, verdict{caller.Verdict{Outcome: caller.Throttled, Scope: caller.ScopeAccount, RetryAfter: floor}}
		})
		if err == nil {
			t.Fatal("got no error, want one")
		}
	}
	for d := range cooled {
		if d < floor || d > floor*11/10+time.Millisecond {
			t.Errorf("got a cooldown of %v, want %v to a tenth more", d, floor)
		}
	}
	if len(cooled) < 15 {
		t.Errorf("got %d different ends of 20 cooldowns, want at least 15", len(cooled))
	}
}

// A provider that asks an account to slow down gets half its pace, which comes back; one that is overloaded for everybody
// doesn't slow the account.
func TestOverloaded_SlowsTheAccount(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for scope, slowed := range map[caller.Scope]bool{caller.ScopeAccount: true, caller.ScopeProvider: false} {
			c := join(t, rdb, limits(perMinute(1000)), func(cfg *caller.Config) {
				cfg.Name = fmt.Sprint("pool-", scope)
				cfg.Retry.Attempts = 1
			})
			_, err := caller.Do(testkit.Context(t), c, nil, func(context.Context, *caller.Grant) (int, error) {
				return 0, verdict{caller.Verdict{Outcome: caller.Overloaded, Scope: scope}}
			})
			if err == nil {
				t.Fatal("got no error, want one")
			}
			pace := func() float64 {
				s, err := c.Inspect(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return s.Limits[0].Pace
			}
			if slowed {
				testkit.Eventually(t, "the account is used at half its pace", func() bool { p := pace(); return p > 0.4 && p < 0.6 })
			} else if p := pace(); p != 1 {
				t.Errorf("got the pace %v, want 1", p)
			}
		}
	})
}
