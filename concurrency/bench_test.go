package concurrency

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/redis/go-redis/v9"
	xsync "golang.org/x/sync/semaphore"
)

const benchLimit = 64

// BenchmarkAcquire measures acquire and release of one of 64 permits. zset is the common recipe; xsync, local to the
// process, is the physical limit.
func BenchmarkAcquire(b *testing.B) {
	impls := []struct {
		name string
		make func(b *testing.B) func(context.Context) (release func(), err error)
	}{
		{"zset", func(b *testing.B) func(context.Context) (func(), error) {
			z := &zset{rdb: redistest.Client(b), key: "zset", limit: benchLimit}
			return z.acquire
		}},
		{"ours", func(b *testing.B) func(context.Context) (func(), error) {
			s := newTest(b, redistest.Client(b), Config{Limit: benchLimit})
			return func(ctx context.Context) (func(), error) {
				l, err := s.Acquire(ctx)
				if err != nil {
					return nil, err
				}
				return l.Release, nil
			}
		}},
		{"xsync", func(*testing.B) func(context.Context) (func(), error) {
			s := xsync.NewWeighted(benchLimit)
			return func(ctx context.Context) (func(), error) {
				return func() { s.Release(1) }, s.Acquire(ctx, 1)
			}
		}},
	}
	for _, impl := range impls {
		for _, callers := range []int{1, 8, 64, 512} {
			b.Run(fmt.Sprintf("impl=%s/callers=%d", impl.name, callers), func(b *testing.B) {
				benchAcquire(b, callers, impl.make(b))
			})
		}
	}
}

func benchAcquire(b *testing.B, callers int, acquire func(context.Context) (func(), error)) {
	var wg sync.WaitGroup
	jobs := b.N
	b.ReportAllocs()
	b.ResetTimer()
	for c := range callers {
		n := jobs / callers
		if c < jobs%callers {
			n++
		}
		wg.Go(func() {
			for range n {
				release, err := acquire(b.Context())
				if err != nil {
					b.Error(err)
					return
				}
				release()
			}
		})
	}
	wg.Wait()
}

// zset is the common recipe: a ZSET entry with a deadline for each permit, one script to acquire, one ZREM to release,
// and a poll every 10 ms while no permit is free.
type zset struct {
	rdb   *redis.Client
	key   string
	limit int
	mu    sync.Mutex
	next  int
}

var zsetAcquire = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
  return 0
end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`)

func (z *zset) acquire(ctx context.Context) (func(), error) {
	z.mu.Lock()
	z.next++
	id := fmt.Sprint(z.next)
	z.mu.Unlock()
	for {
		ok, err := zsetAcquire.Run(ctx, z.rdb, []string{z.key}, z.limit, 10_000, id).Bool()
		if err != nil && err != redis.Nil {
			return nil, err
		}
		if ok {
			return func() { z.rdb.ZRem(context.WithoutCancel(ctx), z.key, id) }, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
