package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/ratelimit"
	"github.com/penstock/penstock/scripts"
)

// restricted returns a client that may only use keys that begin with "rate:good".
func restricted(t *testing.T) *redis.Client {
	t.Helper()
	server := redistest.Start(t)
	if err := server.Client(t).Do(t.Context(), "acl", "setuser", "u", "on", ">p", "~rate:good*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	opts := server.Options()
	opts.Username, opts.Password = "u", "p"
	rdb := redis.NewClient(opts)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// TestBatch_RefusedKeyFailsAlone makes calls on a refused key and on a good one at the same time, with each policy: only
// the calls on the refused key fail.
func TestBatch_RefusedKeyFailsAlone(t *testing.T) {
	clients := map[string]func(t *testing.T) *redis.Client{
		"list": func(t *testing.T) *redis.Client {
			t.Helper()
			rdb := redistest.Client(t)
			if err := rdb.RPush(t.Context(), "rate:bad", "x").Err(); err != nil {
				t.Fatal(err)
			}
			return rdb
		},
		"text": func(t *testing.T) *redis.Client {
			t.Helper()
			rdb := redistest.Client(t)
			if err := rdb.Set(t.Context(), "rate:bad", "0x12345678901234567890abcdef", 0).Err(); err != nil {
				t.Fatal(err)
			}
			return rdb
		},
		"ACL": restricted,
	}
	for name, open := range clients {
		for _, policy := range []ratelimit.OutagePolicy{ratelimit.FailClosed, ratelimit.FailOpen} {
			t.Run(name+"/"+policy.String(), func(t *testing.T) {
				l, err := ratelimit.New(open(t), ratelimit.Config{Outage: policy})
				if err != nil {
					t.Fatal(err)
				}
				limit := ratelimit.PerHour(10)
				var wg sync.WaitGroup
				var allowed atomic.Int64
				for range 8 {
					wg.Go(func() {
						for range 50 {
							if _, err := l.Allow(t.Context(), "bad", limit); scripts.OutcomeOf(err) != scripts.Rejected {
								t.Errorf("bad key: got %v, want a rejected script", err)
								return
							}
						}
					})
					wg.Go(func() {
						for range 50 {
							res, err := l.Allow(t.Context(), "good", limit)
							if err != nil {
								t.Errorf("good key: got %v, want no error", err)
								return
							}
							allowed.Add(int64(res.Allowed))
						}
					})
				}
				wg.Wait()
				if n := allowed.Load(); n != 10 {
					t.Errorf("good key: got %d units, want 10", n)
				}
			})
		}
	}
}

// TestReset_ClearsForeignKey resets keys that hold something other than a limit's state.
func TestReset_ClearsForeignKey(t *testing.T) {
	rdb := redistest.Client(t)
	l := ratelimit.NewLimiter(rdb)
	limit := ratelimit.PerHour(10)
	if err := errors.Join(rdb.RPush(t.Context(), "rate:list", "x").Err(), rdb.Set(t.Context(), "rate:text", "x", 0).Err()); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"list", "text"} {
		if err := l.Reset(t.Context(), key); err != nil {
			t.Errorf("%s: got %v, want no error", key, err)
		}
		if res, err := l.Allow(t.Context(), key, limit); err != nil || res.Remaining != 9 {
			t.Errorf("%s: got %+v, %v; want 9 remaining", key, res, err)
		}
	}
}

// TestReset_ObeysContext resets a key while Redis doesn't reply.
func TestReset_ObeysContext(t *testing.T) {
	server := redistest.Start(t)
	l := ratelimit.NewLimiter(server.Client(t))
	limit := ratelimit.PerHour(10)
	remaining(t, l, limit, 10)
	server.Pause()
	defer server.Resume()
	ctx := testkit.ContextFor(t, 50*time.Millisecond)
	start := time.Now()
	if err := l.Reset(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline exceeded", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("got the error after %v, want about 50 ms", took)
	}
}

// TestTimeout_GivesLateGrantBack holds a reply for longer than Config.Timeout.
func TestTimeout_GivesLateGrantBack(t *testing.T) {
	faults, l, other := faulty(t, ratelimit.Config{Timeout: 200 * time.Millisecond})
	limit := ratelimit.PerHour(100)
	remaining(t, l, limit, 100)
	reply := faults.HoldReply(redistest.Nth(1, anyScript))
	if _, err := l.AllowN(t.Context(), "k", limit, 5); !errors.Is(err, ratelimit.ErrUnavailable) {
		t.Fatalf("got %v, want ErrUnavailable", err)
	}
	remaining(t, other, limit, 95)
	reply.Release()
	testkit.Eventually(t, "the late grant is given back", func() bool {
		res, err := other.Peek(t.Context(), "k", limit)
		return err == nil && res.Remaining == 100
	})
}

// TestCircuit_IgnoresCallersDeadlines makes calls with short deadlines to a slow Redis: calls without a deadline must not
// fail for it, nor be admitted by the policy.
func TestCircuit_IgnoresCallersDeadlines(t *testing.T) {
	server := redistest.Start(t)
	faults := redistest.NewFaults(t)
	opts := server.Options()
	opts.ContextTimeoutEnabled = true
	rdb := faults.Client(t, opts)
	l := ratelimit.NewLimiter(rdb)
	limit := ratelimit.PerHour(1000)
	remaining(t, l, limit, 1000)
	faults.Slow(50 * time.Millisecond)
	for range 6 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err := l.Allow(ctx, "impatient", limit)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want a deadline exceeded", err)
		}
		if _, err := l.Allow(t.Context(), "k", limit); err != nil {
			t.Fatalf("patient call: got %v, want no error", err)
		}
	}
}

// TestCircuit_IsPerNodeOfCluster pauses one of three masters: few of its keys may wait for the timeout, and calls on keys of
// the others are served.
func TestCircuit_IsPerNodeOfCluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 0)
	failed := make(chan error, 3)
	l, err := ratelimit.New(cluster.Client(t), ratelimit.Config{
		Timeout: 200 * time.Millisecond,
		Hooks:   ratelimit.Hooks{RedisFailed: func(_ context.Context, err error) { failed <- err }},
	})
	if err != nil {
		t.Fatal(err)
	}
	limit := ratelimit.PerHour(1000)
	paused := cluster.Owner(cluster.Slot("rate:k0"))
	var theirs, others []string
	for i := range 60 {
		key := fmt.Sprint("k", i)
		if _, err := l.Allow(testkit.Context(t), key, limit); err != nil {
			t.Fatal(err)
		}
		if cluster.Owner(cluster.Slot("rate:"+key)) == paused {
			theirs = append(theirs, key)
		} else {
			others = append(others, key)
		}
	}
	paused.Pause()
	defer paused.Resume()
	slow := 0
	for i, key := range theirs[:min(len(theirs), 12)] {
		start := time.Now()
		if _, err := l.Allow(t.Context(), key, limit); err == nil {
			t.Errorf("got no error for a key of the paused node, want ErrUnavailable")
		}
		if time.Since(start) > 150*time.Millisecond {
			slow++
		}
		if i >= 4 {
			continue // later the Cluster itself may refuse calls, because a node is missing
		}
		if _, err := l.Allow(t.Context(), others[i], limit); err != nil {
			t.Errorf("got %v for a key of another node, want it served", err)
		}
	}
	if slow > 6 {
		t.Errorf("got %d of %d keys that waited for the timeout, want 3 and a few probes", slow, len(theirs))
	}
	testkit.Receive(t, "the hook RedisFailed", failed)
}

// TestContext_EndsEveryCall stops the Redis process: each method returns soon after its context has ended.
func TestContext_EndsEveryCall(t *testing.T) {
	server := redistest.Start(t)
	l := ratelimit.NewLimiter(server.Client(t))
	limit := ratelimit.PerHour(1000)
	remaining(t, l, limit, 1000)
	charge := ratelimit.Charge{Key: "k", Limit: limit, Cost: 1}
	server.Pause()
	defer server.Resume()
	for name, call := range map[string]func(ctx context.Context) error{
		"Allow":       func(ctx context.Context) error { _, err := l.Allow(ctx, "k", limit); return err },
		"AllowAtMost": func(ctx context.Context) error { _, err := l.AllowAtMost(ctx, "k", limit, 2); return err },
		"Peek":        func(ctx context.Context) error { _, err := l.Peek(ctx, "k", limit); return err },
		"Admit":       func(ctx context.Context) error { _, err := l.Admit(ctx, charge); return err },
		"Wait":        func(ctx context.Context) error { return l.Wait(ctx, "k", limit) },
		"WaitWithin":  func(ctx context.Context) error { return l.WaitWithin(ctx, time.Minute, charge) },
		"Reserve":     func(ctx context.Context) error { _, err := l.Reserve(ctx, charge); return err },
		"Reset":       func(ctx context.Context) error { return l.Reset(ctx, "k") },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		err := call(ctx)
		took := time.Since(start)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
			t.Errorf("%s: got %v after %v, want a deadline exceeded after 50 ms", name, err, took)
		}
	}
}

// TestCircuit_IsPerNode pauses the only server of a Ring: few of many keys may wait for the timeout.
func TestCircuit_IsPerNode(t *testing.T) {
	server := redistest.Start(t)
	ring := redis.NewRing(&redis.RingOptions{
		Addrs: map[string]string{"a": server.Options().Addr},
		NewClient: func(*redis.Options) *redis.Client { //nolint:gocritic // the Ring's options have an address, not the socket
			return redis.NewClient(server.Options())
		},
	})
	defer ring.Close()
	for name, client := range map[string]ratelimit.Client{
		"ring": ring, "wrapped": struct{ ratelimit.Client }{server.Client(t)},
	} {
		failed := make(chan error, 1)
		l, err := ratelimit.New(client, ratelimit.Config{
			Timeout: 200 * time.Millisecond,
			Hooks:   ratelimit.Hooks{RedisFailed: func(_ context.Context, err error) { failed <- err }},
		})
		if err != nil {
			t.Fatal(err)
		}
		remaining(t, l, ratelimit.PerHour(5), 5)
		server.Pause()
		slow := 0
		for i := range 20 {
			start := time.Now()
			if _, err := l.Allow(t.Context(), string(rune('a'+i)), ratelimit.PerHour(5)); err == nil {
				t.Errorf("%s: got no error, want ErrUnavailable", name)
			}
			if time.Since(start) > 150*time.Millisecond {
				slow++
			}
		}
		server.Resume()
		if slow > 8 {
			t.Errorf("%s: got %d of 20 keys that waited for the timeout, want 3 and a few probes", name, slow)
		}
		testkit.Receive(t, "the hook RedisFailed", failed)
	}
}
