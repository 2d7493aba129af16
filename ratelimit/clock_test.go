package ratelimit_test

import (
	"context"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/ratelimit"
)

// TestClock_RecoversFromSlowFirstReply delays the first reply, which gives a poor estimate of Redis' clock. Later calls must
// not be taken for late.
func TestClock_RecoversFromSlowFirstReply(t *testing.T) {
	t.Parallel()
	faults := redistest.NewFaults(t)
	rdb := faults.Client(t, redistest.Start(t).Options())                            // a server that has no scripts yet
	held := faults.HoldReply(redistest.Nth(1, redistest.Contains("$4\r\neval\r\n"))) // EVALSHA before it is answered NOSCRIPT
	limiter := ratelimit.NewLimiter(rdb)
	first := make(chan error, 1)
	go func() {
		_, err := limiter.Allow(context.Background(), "slow", ratelimit.PerSecond(1000))
		first <- err
	}()
	held.Wait(t, 1)
	const slow = 3 * time.Second
	<-time.After(slow) // the delay of the first reply is the subject of the test
	held.Release()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	var err error
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), slow*9/10)
		_, err = limiter.Allow(ctx, "slow", ratelimit.PerSecond(1000))
		cancel()
		if err == nil {
			return
		}
	}
	t.Errorf("still %v", err)
}
