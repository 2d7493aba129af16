package concurrency

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/redis/go-redis/v9"
)

// All semaphores of a client share one subscription and one set of goroutines, and each gets its messages.
func TestLoop_IsSharedByTheSemaphoresOfAClient(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	const n = 500
	before := runtime.NumGoroutine()
	var all, others []*Semaphore
	for i := range n {
		cfg := Config{Name: fmt.Sprint("tenant", i), Limit: 1, PollInterval: DefaultSessionTTL}
		all = append(all, newTest(t, rdb, cfg))
		acquire(t, all[i], 1).Release()
		if i%100 == 0 {
			others = append(others, newTest(t, server.Client(t), cfg))
		}
	}
	testkit.Eventually(t, "every semaphore is subscribed", func() bool {
		channels, err := rdb.PubSubChannels(t.Context(), "*tenant*}").Result()
		return err == nil && len(channels) == n
	})
	list := rdb.ClientList(t.Context()).Val()
	if subscribed := strings.Count(list, " sub=") - strings.Count(list, " sub=0"); subscribed != 1 {
		t.Errorf("connections with a subscription: got %d, want 1", subscribed)
	}
	if own := strings.Count(list, "\n"); own > 20 {
		t.Errorf("connections of %d semaphores: got %d, want at most 20", n, own)
	}
	if more := runtime.NumGoroutine() - before; more > 20 {
		t.Errorf("goroutines of %d semaphores: got %d, want at most 20", n, more)
	}
	for i, other := range others {
		s := all[100*i]
		held := acquire(t, other, 1)
		waiting := queued(t, s, testkit.Context(t), 1)
		known(t, s, 1)
		start := time.Now()
		held.Release()
		take(t, waiting).Release()
		if took := time.Since(start); took > DefaultSessionTTL/2 {
			t.Errorf("semaphore %d was woken after %v, want it at once by a message", i, took)
		}
	}
	for _, s := range all[1:] {
		if err := s.Close(testkit.Context(t)); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "closed semaphores aren't subscribed", func() bool {
		channels, err := rdb.PubSubChannels(t.Context(), "*tenant*}").Result()
		return err == nil && len(channels) == len(others)
	})
	acquire(t, all[0], 1).Release()
}

// On a Ring, each shard has a subscription, so that semaphores of every shard get their messages.
func TestLoop_ListensOnEachShardOfARing(t *testing.T) {
	t.Parallel()
	first, second := redistest.Start(t), redistest.Start(t)
	client := func() redis.UniversalClient {
		rdb := redis.NewRing(&redis.RingOptions{
			Addrs: map[string]string{"first": "first", "second": "second"},
			NewClient: func(o *redis.Options) *redis.Client {
				if o.Addr == "first" {
					return redis.NewClient(first.Options())
				}
				return redis.NewClient(second.Options())
			},
		})
		t.Cleanup(func() { rdb.Close() })
		return rdb
	}
	here, there := client(), client()
	for i := range 6 {
		cfg := Config{Name: fmt.Sprint("ring", i), Limit: 1, PollInterval: DefaultSessionTTL}
		a, b := newTest(t, here, cfg), newTest(t, there, cfg)
		held := acquire(t, a, 1)
		waiting := queued(t, b, testkit.Context(t), 1)
		known(t, b, 1)
		start := time.Now()
		held.Release()
		take(t, waiting).Release()
		if took := time.Since(start); took > DefaultSessionTTL/2 {
			t.Errorf("semaphore %d was woken after %v, want it at once by a message", i, took)
		}
	}
}

// A semaphore that is closed after its client leaves no goroutine behind.
func TestClose_AfterItsClientLeaksNothing(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client(t)
	subscribed(t, admin, 0)
	before := runtime.NumGoroutine()
	const n = 5
	for range n {
		rdb := redis.NewClient(server.Options())
		s, err := New(rdb, Config{Name: "test", Limit: n})
		if err != nil {
			t.Fatal(err)
		}
		acquire(t, s, 1)
		subscribed(t, admin, 1)
		if err := rdb.Close(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		if err := s.Close(ctx); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Close with a permit that can't be returned: got %v, want %v", err, ErrUnavailable)
		}
		cancel()
	}
	testkit.Eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}
