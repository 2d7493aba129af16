package ratelimit_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/ratelimit"
)

// TestRunnersAreKeptAndEnd makes lone calls whose contexts can end: one goroutine waits for Redis in place of all of them,
// and is gone a moment later.
func TestRunnersAreKeptAndEnd(t *testing.T) {
	l := ratelimit.NewLimiter(redistest.Client(t))
	limit := ratelimit.PerHour(1e6)
	if _, err := l.Allow(t.Context(), "k", limit); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return l.Runners() == 0 })
	before := goleak.IgnoreCurrent()
	for range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if _, err := l.Allow(ctx, "k", limit); err != nil {
			t.Fatal(err)
		}
		cancel()
		// It is kept before the call returns, and dismissed after 20 ms at the earliest.
		if n := l.Runners(); n > 1 {
			t.Fatalf("%d goroutines wait for a batch", n)
		}
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}
