package caller

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

	"github.com/penstock/penstock/caller/internal/admission"
	"github.com/penstock/penstock/internal/redistest"
)

// BenchmarkAdmit compares one key's three limits by redis_rate, a call each, with admission to a pool of ten keys in
// six accounts, three limits each and a permit. No limit is ever reached.
func BenchmarkAdmit(b *testing.B) {
	for _, callers := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprintf("impl=redis_rate/callers=%d", callers), func(b *testing.B) { benchRedisRate(b, callers) })
		b.Run(fmt.Sprintf("impl=ours/callers=%d", callers), func(b *testing.B) { benchOurs(b, callers) })
	}
}

const plenty = 1_000_000_000

func benchRedisRate(b *testing.B, callers int) {
	rdb := redistest.Start(b, redistest.WithTCP()).Client(b)
	l := redis_rate.NewLimiter(rdb)
	limits := []string{"requests", "tokens", "output_tokens"}
	share(b, rdb, callers, func(ctx context.Context) error {
		for _, name := range limits {
			if r, err := l.AllowN(ctx, name, redis_rate.PerMinute(plenty), 1); err != nil || r.Allowed == 0 {
				return fmt.Errorf("%v %v", r, err)
			}
		}
		return nil
	})
}

func benchOurs(b *testing.B, callers int) {
	rdb := redistest.Start(b, redistest.WithTCP()).Client(b)
	cfg := Config{Name: "bench", Concurrency: 100_000}
	for i := range 10 {
		cfg.Keys = append(cfg.Keys, Key{ID: fmt.Sprint("k", i), Secret: NewSecret(fmt.Sprint("secret-", i)), Account: fmt.Sprint("org-", i%6)})
	}
	for _, m := range []Metric{Requests, Tokens, OutputTokens} {
		cfg.Limits = append(cfg.Limits, Limit{Metric: m, Rate: plenty, Period: time.Minute, Algorithm: Bucket, Burst: plenty / 2})
	}
	c, err := New(rdb, cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	units, err := c.settings.units(Cost{Tokens: 700, OutputTokens: 200}, "")
	if err != nil {
		b.Fatal(err)
	}
	share(b, rdb, callers, func(ctx context.Context) error {
		g, err := c.acquire(ctx, admission.Request{Units: units, Priority: int(PriorityNormal - PriorityLow)})
		if err != nil {
			return err
		}
		g.release()
		return nil
	})
}

// share runs b.N operations on that many goroutines and reports Redis' CPU for each.
func share(b *testing.B, rdb *redis.Client, callers int, op func(context.Context) error) {
	b.Helper()
	b.ReportAllocs()
	ctx := b.Context()
	if err := op(ctx); err != nil {
		b.Fatal(err)
	}
	before, calls := scriptTime(b, rdb)
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range callers {
		n := b.N / callers
		if i < b.N%callers {
			n++
		}
		wg.Go(func() {
			for range n {
				if err := op(ctx); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	after, n := scriptTime(b, rdb)
	b.ReportMetric(float64((after-before).Nanoseconds())/float64(b.N), "redis-ns/op")
	b.ReportMetric(float64(n-calls)/float64(b.N), "redis-calls/op")
}

// scriptTime returns how long Redis has run scripts, and how many.
func scriptTime(b *testing.B, rdb *redis.Client) (total time.Duration, calls int64) {
	b.Helper()
	number := func(line, field string) int64 {
		_, rest, _ := strings.Cut(line, field)
		text, _, _ := strings.Cut(rest, ",")
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	for line := range strings.Lines(rdb.Info(b.Context(), "commandstats").Val()) {
		if !strings.HasPrefix(line, "cmdstat_eval") {
			continue
		}
		calls += number(line, "calls=")
		total += time.Duration(number(line, ",usec=")) * time.Microsecond
	}
	return total, calls
}
