package ratelimit_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/ratelimit"
)

// The benchmarks run redis_rate and this package against the same redis-server over TCP, one call an operation.
// server-ns/op is what an operation costs the server, from INFO commandstats.

var benchCallers = []int{1, 8, 64, 512, 4096}

// roomy is a limit that no benchmark exhausts.
var roomy = ratelimit.Limit{Rate: 1e6, Burst: 1e9, Period: time.Second}

// bench is one implementation of a benchmark: it returns a function that makes one call.
type bench struct {
	name string
	open func(rdb *redis.Client) func(ctx context.Context) error
}

func compare(b *testing.B, impls ...bench) {
	b.Helper()
	server := redistest.Start(b, redistest.WithTCP())
	for _, impl := range impls {
		for _, callers := range benchCallers {
			b.Run(fmt.Sprintf("impl=%s/callers=%d", impl.name, callers), func(b *testing.B) {
				measure(b, server, callers, impl.open)
			})
		}
	}
}

// compareContexts runs a lone caller whose contexts can end.
func compareContexts(b *testing.B, impls ...bench) {
	b.Helper()
	server := redistest.Start(b, redistest.WithTCP())
	for _, impl := range impls {
		for _, c := range benchContexts {
			b.Run(fmt.Sprintf("impl=%s/callers=1/context=%s", impl.name, c.name), func(b *testing.B) {
				measure(b, server, 1, func(rdb *redis.Client) func(context.Context) error {
					call := impl.open(rdb)
					return func(ctx context.Context) error {
						ctx, cancel := c.with(ctx)
						defer cancel()
						return call(ctx)
					}
				})
			})
		}
	}
}

// benchContexts are contexts that can end, as services pass them: one for each call.
var benchContexts = []struct {
	name string
	with func(context.Context) (context.Context, context.CancelFunc)
}{
	{"cancel", context.WithCancel},
	{"timeout", func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, time.Minute)
	}},
}

// measure makes b.N calls from so many goroutines on a database that is empty.
func measure(b *testing.B, server *redistest.Server, callers int, open func(*redis.Client) func(context.Context) error) {
	rdb := redis.NewClient(server.Options())
	defer rdb.Close()
	if err := rdb.FlushAll(b.Context()).Err(); err != nil {
		b.Fatal(err)
	}
	call := open(rdb)
	run(b, callers, call, func(int) {}) // connections and scripts
	before := serverTime(b, rdb)
	b.ReportAllocs()
	b.ResetTimer()
	spread(b, callers, call)
	b.StopTimer()
	used := serverTime(b, rdb) - before
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "server-ns/op")
}

// spread makes b.N calls from so many goroutines.
func spread(b *testing.B, callers int, call func(context.Context) error) {
	var wg sync.WaitGroup
	for i := range callers {
		n := b.N / callers
		if i < b.N%callers {
			n++
		}
		wg.Go(func() {
			for range n {
				if err := call(context.Background()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// run makes one call from each of so many goroutines.
func run(b *testing.B, callers int, call func(context.Context) error, each func(int)) {
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			if err := call(b.Context()); err != nil {
				b.Error(err)
			}
			each(i)
		})
	}
	wg.Wait()
}

// serverTime returns the time that the server has spent in scripts.
func serverTime(b *testing.B, rdb *redis.Client) time.Duration {
	info, err := rdb.Info(context.Background(), "commandstats").Result()
	if err != nil {
		b.Fatal(err)
	}
	var total time.Duration
	for line := range strings.Lines(info) {
		name, stats, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != "cmdstat_evalsha" && name != "cmdstat_eval" {
			continue
		}
		for field := range strings.SplitSeq(stats, ",") {
			if us, ok := strings.CutPrefix(field, "usec="); ok {
				n, err := strconv.ParseInt(us, 10, 64)
				if err != nil {
					b.Fatal(err)
				}
				total += time.Duration(n) * time.Microsecond
			}
		}
	}
	return total
}

func peerLimit(l ratelimit.Limit) redis_rate.Limit {
	return redis_rate.Limit{Rate: l.Rate, Burst: l.Burst, Period: l.Period}
}

// allowing calls Allow.
func allowing(cfg ratelimit.Config) func(rdb *redis.Client) func(context.Context) error {
	return func(rdb *redis.Client) func(context.Context) error {
		l, err := ratelimit.New(rdb, cfg)
		return func(ctx context.Context) error {
			if err != nil {
				return err
			}
			res, err := l.Allow(ctx, "bench", roomy)
			return outcome(err, err == nil && res.Allowed == 1)
		}
	}
}

// BenchmarkAllow is one unit of a limit that does not refuse. x_time_rate is a limit of this process alone, which asks no server.
// The variants with context=... have a context that can end,
// of its own for each call.
func BenchmarkAllow(b *testing.B) {
	peer := bench{"redis_rate", func(rdb *redis.Client) func(context.Context) error {
		l, limit := redis_rate.NewLimiter(rdb), peerLimit(roomy)
		return func(ctx context.Context) error {
			res, err := l.Allow(ctx, "bench", limit)
			return outcome(err, err == nil && res.Allowed == 1)
		}
	}}
	ours := bench{"ours", allowing(ratelimit.Config{})}
	inProcess := bench{"x_time_rate", func(*redis.Client) func(context.Context) error {
		l := rate.NewLimiter(rate.Limit(roomy.Rate), roomy.Burst)
		return func(context.Context) error { return outcome(nil, l.Allow()) }
	}}
	compare(b, peer, ours, inProcess)
	compareContexts(b, peer, ours, bench{"ours_inline", allowing(ratelimit.Config{Inline: true})})
}

// BenchmarkAdmit is one unit of each of three limits: one call of ours, three of the peer.
func BenchmarkAdmit(b *testing.B) {
	keys := []string{"{bench}:requests", "{bench}:tokens", "{bench}:dollars"}
	compare(b,
		bench{"redis_rate/limits=3", func(rdb *redis.Client) func(context.Context) error {
			l, limit := redis_rate.NewLimiter(rdb), peerLimit(roomy)
			return func(ctx context.Context) error {
				for _, k := range keys {
					res, err := l.Allow(ctx, k, limit)
					if err := outcome(err, err == nil && res.Allowed == 1); err != nil {
						return err
					}
				}
				return nil
			}
		}},
		bench{"ours/limits=3", func(rdb *redis.Client) func(context.Context) error {
			l := ratelimit.NewLimiter(rdb)
			return func(ctx context.Context) error {
				a, err := l.Admit(ctx,
					ratelimit.Charge{Key: keys[0], Limit: roomy, Cost: 1},
					ratelimit.Charge{Key: keys[1], Limit: roomy, Cost: 1},
					ratelimit.Charge{Key: keys[2], Limit: roomy, Cost: 1})
				return outcome(err, err == nil && a.Allowed)
			}
		}},
	)
}

// BenchmarkRefuse is one unit of an exhausted limit.
func BenchmarkRefuse(b *testing.B) {
	dry := ratelimit.PerHour(1)
	compare(b,
		bench{"redis_rate", func(rdb *redis.Client) func(context.Context) error {
			l, limit := redis_rate.NewLimiter(rdb), peerLimit(dry)
			_, err := l.Allow(context.Background(), "dry", limit)
			return func(ctx context.Context) error {
				if err != nil {
					return err
				}
				res, err := l.Allow(ctx, "dry", limit)
				return outcome(err, err == nil && res.Allowed == 0)
			}
		}},
		bench{"ours", func(rdb *redis.Client) func(context.Context) error {
			l := ratelimit.NewLimiter(rdb)
			_, err := l.Allow(context.Background(), "dry", dry)
			return func(ctx context.Context) error {
				if err != nil {
					return err
				}
				res, err := l.Allow(ctx, "dry", dry)
				return outcome(err, err == nil && res.Allowed == 0)
			}
		}},
	)
}

func outcome(err error, ok bool) error {
	if err == nil && !ok {
		return fmt.Errorf("wrong answer")
	}
	return err
}
