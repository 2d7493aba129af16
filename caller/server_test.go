package caller_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/scripts"
)

// What happens to a Redis server during a run makes no call fail, and permits are right afterwards.
func TestServer_TroubleIsHidden(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]func(*redistest.Server, *redis.Client){
		"SCRIPT FLUSH": func(_ *redistest.Server, rdb *redis.Client) { rdb.ScriptFlush(context.Background()) },
		"FLUSHALL":     func(_ *redistest.Server, rdb *redis.Client) { rdb.FlushAll(context.Background()) },
		"restart":      func(s *redistest.Server, _ *redis.Client) { s.Restart() },
		"stop":         func(s *redistest.Server, _ *redis.Client) { s.Pause(); time.Sleep(50 * time.Millisecond); s.Resume() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			rdb := server.Client(t)
			callers := []*caller.Pool{join(t, server.Client(t), concurrency(4)), join(t, server.Client(t), concurrency(4))}
			var done atomic.Int64
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					for range 15 {
						_, err := caller.Do(testkit.Context(t), callers[i%2], nil, func(context.Context, *caller.Grant) (int, error) {
							time.Sleep(time.Millisecond)
							return 0, nil
						})
						if err != nil {
							t.Error(err)
						}
						done.Add(1)
					}
				})
			}
			for round := range int64(3) {
				testkit.Eventually(t, "calls go on", func() bool { return done.Load() > 60*round })
				trouble(server, rdb)
			}
			wg.Wait()
			testkit.Eventually(t, "all permits are back", func() bool { held, waiting := inRedis(t, rdb, "p"); return held+waiting == 0 })
		})
	}
}

// An error reply that Redis would repeat is returned at once, and changes nothing.
func TestServer_RefusalsAreReturned(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*testing.T, *redis.Client)
		mend   func(*testing.T, *redis.Client)
		want   []string // one of these
	}{
		"NOPERM": {
			change: func(t *testing.T, rdb *redis.Client) { do(t, rdb, "acl", "setuser", "default", "-hset") },
			mend:   func(t *testing.T, rdb *redis.Client) { do(t, rdb, "acl", "setuser", "default", "+hset") },
			want:   []string{"can't run this command", "has no permissions to run"}, // Redis 7.0, and others
		},
		"WRONGTYPE": {
			change: func(t *testing.T, rdb *redis.Client) { do(t, rdb, "set", scripts.PoolKey("p"), "text") },
			mend:   func(t *testing.T, rdb *redis.Client) { do(t, rdb, "del", scripts.PoolKey("p")) },
			want:   []string{"WRONGTYPE"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			rdb := server.Client(t)
			c := join(t, server.Client(t), concurrency(2), limits(perMinute(100)))
			if _, err := caller.Do(testkit.Context(t), c, nil, nop); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "the release is reported", func() bool { held, waiting := inRedis(t, rdb, "p"); return held+waiting == 0 })
			test.change(t, rdb)
			before := rdb.Dump(t.Context(), scripts.PoolKey("p")).Val()
			for range 3 {
				_, err := caller.Do(testkit.Context(t), c, nil, nop)
				var e *caller.Error
				var cause *scripts.Error
				if !errors.As(err, &e) || e.Attempts != 0 || !errors.As(err, &cause) || cause.Outcome != scripts.Rejected ||
					!slices.ContainsFunc(test.want, func(text string) bool { return strings.Contains(err.Error(), text) }) {
					t.Fatalf("got %v, want %q", err, test.want)
				}
			}
			if after := rdb.Dump(t.Context(), scripts.PoolKey("p")).Val(); after != before {
				t.Error("got the state changed, want it as before")
			}
			test.mend(t, rdb)
			if _, err := caller.Do(testkit.Context(t), c, nil, nop); err != nil {
				t.Errorf("got %v after the repair, want success", err)
			}
		})
	}
}

func set(t *testing.T, rdb *redis.Client, name, value string) {
	t.Helper()
	do(t, rdb, "config", "set", name, value)
}

func do(t *testing.T, rdb *redis.Client, args ...any) {
	t.Helper()
	if err := rdb.Do(context.Background(), args...).Err(); err != nil {
		t.Fatal(err)
	}
}
