package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/ratelimit"
)

// several makes concurrent calls on many keys, on one key, and on several limits.
func several(t *testing.T, l *ratelimit.Limiter) {
	t.Helper()
	limit := ratelimit.PerHour(10)
	var wg sync.WaitGroup
	var allowed atomic.Int64
	for i := range 200 {
		wg.Go(func() {
			res, err := l.Allow(t.Context(), fmt.Sprintf("key %d", i%10), limit)
			if err != nil {
				t.Error(err)
				return
			}
			allowed.Add(int64(res.Allowed))
		})
	}
	wg.Wait()
	if n := allowed.Load(); n != 100 {
		t.Errorf("%d units allowed, want 100", n)
	}
	a := ratelimit.Charge{Key: "{x}a", Limit: limit, Cost: 7}
	b := ratelimit.Charge{Key: "{x}b", Limit: ratelimit.PerHour(1000), Cost: 7}
	if ad, err := l.Admit(t.Context(), a, b); err != nil || !ad.Allowed || ad.Refused != -1 || ad.RetryAfter != -1 {
		t.Errorf("got %+v, %v; want allowed", ad, err)
	}
	for range 2 { // from Redis, then from the cache
		ad, err := l.Admit(t.Context(), b, a)
		if err != nil || ad.Allowed || ad.Refused != 1 || ad.RetryAfter < 23*time.Minute || ad.RetryAfter > 24*time.Minute {
			t.Errorf("got %+v, %v; want a refusal by the second limit for 24 minutes", ad, err)
		}
	}
	if res, err := l.Peek(t.Context(), b.Key, b.Limit); err != nil || res.Remaining != 993 {
		t.Errorf("%+v, %v; a refusal was charged", res, err)
	}
}

// TestRing_ServesAllCalls uses a Ring of two servers.
func TestRing_ServesAllCalls(t *testing.T) {
	one, two := redistest.Start(t, redistest.WithTCP()), redistest.Start(t, redistest.WithTCP())
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": one.Addr(), "two": two.Addr()}})
	defer ring.Close()
	l := ratelimit.NewLimiter(ring)
	several(t, l)
	c := ratelimit.Charge{Key: "a", Limit: ratelimit.PerHour(1), Cost: 1}
	d := c
	d.Key = "b"
	if _, err := l.Admit(t.Context(), c, d); !errors.Is(err, ratelimit.ErrCrossSlot) {
		t.Errorf("got %v, want ErrCrossSlot", err)
	}
}

// TestCluster_ServesAllCalls uses a Redis Cluster.
func TestCluster_ServesAllCalls(t *testing.T) {
	cluster := redistest.StartCluster(t, 0)
	l := ratelimit.NewLimiter(cluster.Client(t))
	several(t, l)
}

// TestSentinel_KeepsStateThroughFailover crashes the master.
func TestSentinel_KeepsStateThroughFailover(t *testing.T) {
	sentinel := redistest.StartSentinel(t, 1)
	rdb := sentinel.Client(t)
	l := ratelimit.NewLimiter(rdb)
	several(t, l)
	limit := ratelimit.PerHour(10)
	if _, err := l.AllowN(t.Context(), "k", limit, 4); err != nil {
		t.Fatal(err)
	}
	sentinel.Crash()
	testkit.Eventually(t, "the new master has the state", func() bool {
		res, err := l.Peek(t.Context(), "k", limit)
		return err == nil && res.Remaining == 6 // even if the replica lacked the charge
	})
}

// TestSlotMigration_FailsNoCall makes calls on keys of one hash tag while they move. A script call fails while its keys are on two
// nodes; the calls must succeed.
func TestSlotMigration_FailsNoCall(t *testing.T) {
	cluster := redistest.StartCluster(t, 0)
	l := ratelimit.NewLimiter(cluster.Client(t))
	limit := ratelimit.PerHour(1_000_000)
	keys := []string{"{m}a", "{m}b", "{m}c", "{m}d"}
	var calls atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := l.Allow(t.Context(), keys[i%4], limit); err != nil {
					t.Error(err)
					return
				}
				calls.Add(1)
			}
		})
	}
	before := func(n int64) { // waits until calls are made in the current state
		until := calls.Load() + n
		testkit.Eventually(t, "more calls succeed", func() bool { return t.Failed() || calls.Load() > until })
	}
	before(200)
	slot := cluster.Slot("rate:{m}a")
	owner := cluster.Owner(slot)
	var to *redistest.Server
	for s := range 16384 {
		if o := cluster.Owner(s); o != owner {
			to = o
			break
		}
	}
	m := cluster.Migrate(slot, to)
	before(200)
	m.Move("rate:{m}a", "rate:{m}b")
	before(200)
	m.Move("rate:{m}c", "rate:{m}d")
	before(200)
	m.Finish()
	before(200)
	stop()
	wg.Wait()
}

// TestKey_MayHaveAnyText uses keys with braces, control characters, and of great length.
func TestKey_MayHaveAnyText(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		l, err := ratelimit.New(rdb, ratelimit.Config{Prefix: "my{app}:"})
		if err != nil {
			t.Fatal(err)
		}
		keys := []string{"", "{", "}", "{}", "{a}{b}", "\x00\xff\r\n", "ключ", strings.Repeat("long", 1000), "%", "a b"}
		for round, want := range []int{1, 0} {
			for _, k := range keys {
				res, err := l.Allow(t.Context(), k, ratelimit.PerHour(2))
				if err != nil || res.Remaining != want {
					t.Errorf("round %d, %q: %+v, %v", round, k, res, err)
				}
				if rdb.Exists(t.Context(), "my{app}:"+k).Val() != 1 {
					t.Errorf("%q isn't in Redis", k)
				}
			}
		}
	})
}

// TestEntries_AreEvictedAtRest checks that memory doesn't grow with the number of keys ever used.
func TestEntries_AreEvictedAtRest(t *testing.T) {
	rdb := redistest.Client(t)
	l := ratelimit.NewLimiter(rdb)
	quick, slow := ratelimit.Limit{Rate: 1_000_000, Burst: 1, Period: time.Second}, ratelimit.PerHour(2)
	for i := range 50 {
		if _, err := l.Allow(t.Context(), fmt.Sprint("slow", i), slow); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Allow(t.Context(), fmt.Sprint("quick", i), quick); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(10 * time.Millisecond) // the quick limits are at rest by any estimate of Redis' clock
	l.Sweep()
	if n := l.Known(); n > 60 {
		t.Errorf("got %d entries, want about 50", n)
	}
	flush(t, rdb)
	if res, err := l.Allow(t.Context(), "slow7", slow); err != nil || res.Remaining != 0 {
		t.Errorf("%+v, %v: a limit in use was forgotten", res, err)
	}
}
