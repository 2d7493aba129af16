package ratelimit_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/ratelimit"
)

// TestRunners_AreReusedAndEnd makes lone calls whose contexts can end. One goroutine sends all of them, and ends soon after.
func TestRunners_AreReusedAndEnd(t *testing.T) {
	l := ratelimit.NewLimiter(redistest.Client(t))
	limit := ratelimit.PerHour(1e6)
	if _, err := l.Allow(t.Context(), "k", limit); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the runners have ended", func() bool { return l.Runners() == 0 })
	before := goleak.IgnoreCurrent()
	for range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if _, err := l.Allow(ctx, "k", limit); err != nil {
			t.Fatal(err)
		}
		cancel()
		// The runner is idle before the call returns, and is kept for at least 20 ms.
		if n := l.Runners(); n > 1 {
			t.Fatalf("%d goroutines wait for a batch", n)
		}
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}
