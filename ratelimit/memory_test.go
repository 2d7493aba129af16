package ratelimit_test

import (
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/ratelimit"
)

// chargeKeys takes one unit of each of n limits, many in one call. Keys of one call have a common hash tag.
func chargeKeys(t testing.TB, l *ratelimit.Limiter, n int, limit ratelimit.Limit) {
	t.Helper()
	charges := make([]ratelimit.Charge, 0, 128)
	for i := 0; i < n; {
		charges = charges[:0]
		tag := "{" + strconv.Itoa(i/128%1024) + "}user:"
		for ; i < n && len(charges) < 128; i++ {
			charges = append(charges, ratelimit.Charge{Key: tag + strconv.Itoa(i), Limit: limit, Cost: 1})
			if i%128 == 127 {
				i++
				break
			}
		}
		if a, err := l.Admit(t.Context(), charges...); err != nil || !a.Allowed {
			t.Fatalf("got %+v, %v; want all of %d charges made", a, err, len(charges))
		}
	}
}

// heap returns the number of bytes in use after a garbage collection.
func heap() float64 {
	runtime.GC()
	runtime.GC() // empties the pools that the first one has kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// keysByClient has, for each kind of client, a number of limits that the memory tests use.
var keysByClient = []struct {
	name string
	keys int
	open func(t *testing.T) ratelimit.Client
}{
	{"server", million, func(t *testing.T) ratelimit.Client { return redistest.Start(t).Client(t) }},
	{"ring", 200_000, func(t *testing.T) ratelimit.Client { return ringOf(t, redistest.Start(t), redistest.Start(t)) }},
	{"cluster", 200_000, func(t *testing.T) ratelimit.Client { return redistest.StartCluster(t, 0).Client(t) }},
}

func ringOf(t *testing.T, servers ...*redistest.Server) *redis.Ring {
	t.Helper()
	addrs, byAddr := map[string]string{}, map[string]*redistest.Server{}
	for i, s := range servers {
		name := "node" + strconv.Itoa(i)
		addrs[name], byAddr[name] = name, s
	}
	ring := redis.NewRing(&redis.RingOptions{Addrs: addrs, NewClient: func(o *redis.Options) *redis.Client {
		return redis.NewClient(byAddr[o.Addr].Options())
	}})
	t.Cleanup(func() { _ = ring.Close() })
	return ring
}

// TestLimiter_HoldsAtMost150BytesPerKey uses a million limits that stay in use, and none twice. It also checks that a sweep
// visits at most a thousandth of them while it holds the lock.
func TestLimiter_HoldsAtMost150BytesPerKey(t *testing.T) {
	if testing.Short() {
		t.Skip("charges a million limits")
	}
	for _, c := range keysByClient {
		t.Run(c.name, func(t *testing.T) {
			l := ratelimit.NewLimiter(c.open(t))
			limit := ratelimit.Limit{Rate: 1, Burst: 2, Period: time.Hour}
			chargeKeys(t, l, 1024, limit) // connections
			before := heap()
			chargeKeys(t, l, c.keys, limit)
			perKey := (heap() - before) / float64(c.keys)
			t.Logf("%.0f bytes per key", perKey)
			if perKey > 150 {
				t.Errorf("got %.0f bytes per key, want at most 150", perKey)
			}
			if n := l.Known(); n != c.keys {
				t.Errorf("got the states of %d limits, want %d", n, c.keys)
			}
			if n := l.Sweep(); n > 1000 {
				t.Errorf("a sweep visits %d keys without releasing the lock, want at most 1,000", n)
			}
			if n := l.Known(); n != c.keys {
				t.Errorf("got the states of %d limits after a sweep, want %d", n, c.keys)
			}
		})
	}
}

// TestLimiter_DropsKeysWithinAMinuteOfRest lets limits come to rest and makes no further call.
func TestLimiter_DropsKeysWithinAMinuteOfRest(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, server *testkit.BubbleServer) {
		const keys = 10_000
		l := ratelimit.NewLimiter(server.Client(t))
		chargeKeys(t, l, keys, ratelimit.PerMinute(1))
		time.Sleep(30 * time.Second)
		if n := l.Known(); n != keys {
			t.Errorf("got the states of %d limits that aren't at rest, want %d", n, keys)
		}
		time.Sleep(30*time.Second + time.Minute)
		if n := l.Known(); n != 0 {
			t.Errorf("got the states of %d limits a minute after they came to rest, want none", n)
		}
	})
}

// TestLimiter_KeepsStatesOfManyKeys uses more limits than a process has entries for. When Redis has lost its data, the process
// restores each of them.
func TestLimiter_KeepsStatesOfManyKeys(t *testing.T) {
	const keys = 20_000
	rdb := redistest.Client(t)
	l := ratelimit.NewLimiter(rdb)
	limit := ratelimit.PerHour(1)
	chargeKeys(t, l, keys, limit)
	flush(t, rdb)
	for i := range keys {
		if i%16 != 0 {
			continue
		}
		key := "{" + strconv.Itoa(i/128%1024) + "}user:" + strconv.Itoa(i)
		res, err := l.Allow(t.Context(), key, limit)
		if err != nil || res.Allowed != 0 {
			t.Fatalf("got %+v, %v for %s; want a refusal", res, err, key)
		}
	}
}

// BenchmarkSweep sweeps the states of a million limits. ns/key is the time per state, and longest-ns the longest time for which
// the sweep holds the lock.
func BenchmarkSweep(b *testing.B) {
	const keys = 1_000_000
	l := ratelimit.NewLimiter(redistest.Client(b))
	chargeKeys(b, l, keys, ratelimit.PerHour(1))
	var longest time.Duration
	b.ResetTimer()
	for b.Loop() {
		longest = max(longest, l.TimeSweep())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/keys, "ns/key")
	b.ReportMetric(float64(longest.Nanoseconds()), "longest-ns")
}
