package caller_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// busy makes calls with each pool for a time, and returns how many.
func busy(t *testing.T, d time.Duration, pools ...*caller.Pool) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var workers sync.WaitGroup
	var mu sync.Mutex
	n := 0
	for _, c := range pools {
		for range 4 {
			workers.Go(func() {
				for err := error(nil); err == nil; { // until no send time is before the end
					_, err = caller.Do(ctx, c, nil, func(context.Context, *caller.Grant) (int, error) {
						mu.Lock()
						defer mu.Unlock()
						n++
						return 0, nil
					})
				}
			})
		}
	}
	workers.Wait()
	<-ctx.Done()
	return n
}

// After the pool's first start, and after no process has called for a while, the pace of the fleet grows from a tenth to the
// whole within RampUp. A process that joins later doesn't begin again.
func TestRampUp_GrowsPaceOfFleet(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, server *testkit.BubbleServer) {
		ramped := func(c *caller.Config) {
			c.Limits = []caller.Limit{{Metric: caller.Requests, Rate: 600, Period: time.Minute}}
			c.RampUp = time.Minute
		}
		one, two := join(t, server.Client(t), ramped), join(t, server.Client(t), ramped)
		first, second, _ := busy(t, 10*time.Second, one, two), busy(t, 20*time.Second, one, two), busy(t, 40*time.Second, one, two)
		whole := busy(t, 10*time.Second, one, join(t, server.Client(t), ramped))
		if first < 5 || first > 25 || second < 60 || second > 110 || whole < 90 || whole > 105 {
			t.Errorf("got %d calls in the first 10 s, %d in the next 20 s and %d in 10 s later, want about 17, 80 and 100", first, second, whole)
		}
		time.Sleep(20 * time.Minute)
		if again := busy(t, 10*time.Second, one, two); again < 5 || again > 25 {
			t.Errorf("got %d calls in 10 s after 20 idle minutes, want about 17", again)
		}
	})
}

// With a real Redis, a ramp bounds the calls of the first second, and without one all are admitted.
func TestRampUp_HoldsCallsBack(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	bucket := limits(caller.Limit{Metric: caller.Requests, Rate: 100, Period: time.Hour, Algorithm: caller.Bucket})
	for _, test := range []struct {
		ramp         time.Duration
		least, above int
	}{{0, 95, 101}, {time.Hour, 8, 12}} {
		c := join(t, rdb, bucket, func(c *caller.Config) { c.Name, c.RampUp = "ramp"+test.ramp.String(), test.ramp })
		if got := busy(t, time.Second, c); got < test.least || got >= test.above {
			t.Errorf("ramp of %v: got %d calls of a bucket of 100, want %d to %d", test.ramp, got, test.least, test.above-1)
		}
	}
}
