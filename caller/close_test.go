package caller_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// Close ends calls that wait, lets calls in flight finish, returns every permit, and can be repeated.
func TestClose_ReturnsEveryPermit(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		c := join(t, rdb, concurrency(1))
		end := hold(t, c)
		waiter := make(chan error)
		go func() {
			_, err := caller.Do(context.Background(), c, nil, nop)
			waiter <- err
		}()
		testkit.Eventually(t, "one waits", func() bool { return c.Stats().CallsWaiting == 1 })

		closed := make(chan error, 3)
		for range cap(closed) {
			go func() { closed <- c.Close(testkit.Context(t)) }()
		}
		if err := <-waiter; !errors.Is(err, caller.ErrClosed) {
			t.Errorf("the waiter got %v", err)
		}
		if _, err := caller.Do(t.Context(), c, nil, nop); !errors.Is(err, caller.ErrClosed) {
			t.Errorf("a new call got %v", err)
		}
		select {
		case err := <-closed:
			t.Errorf("got %v from Close with a call in flight, want it to wait", err)
		case <-time.After(50 * time.Millisecond):
		}
		end()
		for range cap(closed) {
			if err := <-closed; err != nil {
				t.Errorf("got %v from Close, want success", err)
			}
		}
		if held, waiting := inRedis(t, rdb, "p"); held+waiting != 0 {
			t.Errorf("got %d permits and %d waiters in Redis, want none", held, waiting)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("got %v from the second Close, want success", err)
		}
	})
}

// If its context ends first, Close says what it leaves behind, each time.
func TestClose_WithCallsInFlight(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c, err := caller.New(rdb, caller.Config{Name: "p", Keys: []caller.Key{key("k")}, Concurrency: 2})
	if err != nil {
		t.Fatal(err)
	}
	end := hold(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		err := c.Close(ctx)
		var e *caller.Error
		if !errors.As(err, &e) || e.Pool != "p" || !strings.Contains(err.Error(), "1 calls in flight") || strings.Contains(err.Error(), "%!") {
			t.Errorf("got %v", err)
		}
		ctx = t.Context()
	}
	end()
	if err := c.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "up to 1 permits") || strings.Contains(err.Error(), "%!") {
		t.Errorf("got %v after the call has ended, want an error that counts the permit", err) // which Redis hasn't confirmed
	}
}

func TestClose_OfAnUnusedPool(t *testing.T) {
	t.Parallel()
	c, err := caller.New(unreachable(t), caller.Config{Name: "p", Keys: []caller.Key{key("k")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A call whose admission is lost leaves permits that this process doesn't know of. Close gives them back.
func TestClose_AfterALostReply(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	faults := redistest.NewFaults(t)
	c := join(t, faults.Client(t, rdb.Options()), concurrency(2))
	end := hold(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lost := faults.LoseReply(redistest.Contains("eval"))
	over := make(chan error)
	go func() {
		_, err := caller.Do(ctx, c, nil, nop)
		over <- err
	}()
	lost.Wait(t, 1)
	cancel()
	<-over
	lost.Release()
	end()
	if err := c.Close(testkit.Context(t)); err != nil {
		t.Error(err)
	}
	if held, waiting := inRedis(t, rdb, "p"); held+waiting != 0 {
		t.Errorf("got %d permits and %d waiters in Redis, want none", held, waiting)
	}
}

// Close beside callers that come and go: each gets an answer, and nothing is left.
func TestClose_DuringAdmissions(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		c := join(t, rdb, concurrency(3), limits(caller.Limit{Metric: caller.Requests, Rate: 500, Period: time.Second}))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					_, err := caller.Do(testkit.Context(t), c, nil, nop)
					if errors.Is(err, caller.ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		testkit.Eventually(t, "calls go on", func() bool { return c.Stats().CallsSucceeded > 20 })
		if err := c.Close(testkit.Context(t)); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if held, waiting := inRedis(t, rdb, "p"); held+waiting != 0 {
			t.Errorf("got %d permits and %d waiters in Redis, want none", held, waiting)
		}
		if s := c.Stats(); s.CallsInFlight+s.CallsWaiting != 0 || s.Calls != s.CallsSucceeded+s.CallsFailed {
			t.Errorf("got %+v, want no call waiting or in flight", s)
		}
	})
}
