package caller_test

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/scripts"
)

// patience is what tests wait for what must come; far above what even a loaded machine needs.
const patience = 30 * time.Second

// join makes a Caller of pool "p" with one key "k", changed as the test wants, and closes it at the end.
func join(t *testing.T, rdb redis.UniversalClient, change ...func(*caller.Config)) *caller.Pool {
	t.Helper()
	cfg := caller.Config{Name: "p", Keys: []caller.Key{key("k")}}
	for _, c := range change {
		c(&cfg)
	}
	c, err := caller.New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

func concurrency(n int) func(*caller.Config) {
	return func(c *caller.Config) { c.Concurrency = n }
}

func limits(l ...caller.Limit) func(*caller.Config) {
	return func(c *caller.Config) { c.Limits = l }
}

func keys(k ...caller.Key) func(*caller.Config) {
	return func(c *caller.Config) { c.Keys = k }
}

func nop(context.Context, *caller.Grant) (int, error) { return 0, nil }

// hold begins a call that stays in flight until the function returned is called; that waits for the call's end.
func hold(t *testing.T, c *caller.Pool) (end func()) {
	t.Helper()
	begun, over, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := caller.Do(context.Background(), c, nil, func(context.Context, *caller.Grant) (int, error) {
			close(begun)
			<-over
			return 0, nil
		})
		done <- err
	}()
	select {
	case <-begun:
	case err := <-done:
		t.Fatalf("the call ended early: %v", err)
	case <-time.After(patience):
		t.Fatalf("the call isn't admitted: %+v", c.Stats())
	}
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		close(over)
		if err := <-done; err != nil {
			t.Errorf("the call: %v", err)
		}
	}
	t.Cleanup(end)
	return end
}

// within returns a context that ends far later than the test should need.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

var heldField = regexp.MustCompile(`=(\d+)`)

// inRedis returns how many permits of the pool are taken, and how many calls wait, as its sessions told Redis.
func inRedis(t *testing.T, rdb *redis.Client, pool string) (held, waiting int) {
	t.Helper()
	fields, err := rdb.HGetAll(context.Background(), scripts.PoolKey(pool)).Result()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range fields {
		if !strings.HasPrefix(name, "s:") {
			continue
		}
		for _, m := range heldField.FindAllStringSubmatch(value, -1) {
			n, _ := strconv.Atoi(m[1])
			held += n
		}
		n, _ := strconv.Atoi(strings.Fields(value)[3])
		waiting += n
	}
	return held, waiting
}

// load counts calls in flight.
type load struct {
	limit     int64
	now, most atomic.Int64
}

func newLoad(limit int64) *load { return &load{limit: limit} }

// call is one call in flight for a short while.
func (l *load) call(context.Context, *caller.Grant) (int, error) {
	n := l.now.Add(1)
	for old := l.most.Load(); n > old && !l.most.CompareAndSwap(old, n); old = l.most.Load() {
	}
	time.Sleep(2 * time.Millisecond) // the work
	l.now.Add(-1)
	return 0, nil
}

func (l *load) check(t *testing.T) {
	t.Helper()
	if most := l.most.Load(); most > l.limit {
		t.Errorf("%d in flight, limit %d", most, l.limit)
	}
}

func as(err error, target **caller.Error) bool { return errors.As(err, target) }

func contains(err error, text string) bool { return strings.Contains(err.Error(), text) }
