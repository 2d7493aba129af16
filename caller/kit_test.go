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
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/scripts"
)

// join returns a Pool "p" with one key "k", changed by the test, and closes it at the test's end.
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
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
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

// unbounded leaves the time of a call to its context.
func unbounded(c *caller.Config) { c.Timeout = -1 }

func keys(k ...caller.Key) func(*caller.Config) {
	return func(c *caller.Config) { c.Keys = k }
}

func nop(context.Context, *caller.Grant) (int, error) { return 0, nil }

// hold starts a call that stays in flight until end is called, which waits for the call to return.
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
		t.Fatalf("got %v for the call, want it in flight", err)
	case <-time.After(testkit.Patience):
		t.Fatalf("got %+v, want the call admitted", c.Stats())
	}
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		close(over)
		if err := <-done; err != nil {
			t.Errorf("got %v for the call, want success", err)
		}
	}
	t.Cleanup(end)
	return end
}

var heldField = regexp.MustCompile(`=(\d+)`)

// inRedis returns the numbers of permits held and of calls waiting, as the pool's sessions reported them to Redis.
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
		t.Errorf("got %d calls in flight, want at most %d", most, l.limit)
	}
}

func as(err error, target **caller.Error) bool { return errors.As(err, target) }

func contains(err error, text string) bool { return strings.Contains(err.Error(), text) }
