package caller_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/scripts"
)

// booked begins a call that waits for its turn, until its context ends.
func booked(ctx context.Context, c *caller.Pool) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := caller.Do(ctx, c, nil, nop)
		done <- err
	}()
	return done
}

// counts waits until so many calls wait for admission, and so many are admitted.
func counts(t *testing.T, c *caller.Pool, waiting, admitted int) {
	t.Helper()
	testkit.Eventually(t, "calls wait and are admitted as they should", func() bool {
		s := c.Stats()
		return s.CallsWaiting == waiting && s.CallsInFlight == admitted
	})
}

// The booking of a call that declines it goes to the next call, and is charged once.
func TestDecline_BookingGoesToTheNextCall(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		hourly := caller.Limit{Metric: caller.Requests, Rate: 12, Period: 12 * time.Hour, Algorithm: caller.Bucket, Burst: 1}
		c := join(t, rdb, limits(hourly), concurrency(2), func(c *caller.Config) { c.Tuning.Horizon, c.Timeout = 90*time.Minute, 2*time.Hour })
		urgent := caller.WithOptions(t.Context(), caller.Options{Priority: caller.PriorityHigh})
		if _, err := caller.Do(urgent, c, nil, nop); err != nil {
			t.Fatal(err)
		}
		first, leave := context.WithCancel(urgent)
		second, end := context.WithCancel(urgent)
		defer end()
		its := booked(first, c)
		counts(t, c, 0, 1) // an hour ahead
		others := booked(second, c)
		counts(t, c, 1, 1) // two hours are too far ahead

		leave()
		if err := <-its; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		counts(t, c, 0, 1)
		if n := charged(t, rdb, time.Hour); n != 2 {
			t.Errorf("%d calls are charged, want the first one, and one booking for two", n)
		}
		end()
		if err := <-others; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		counts(t, c, 0, 0)
	})
}

// The units of a daily count are refunded for a call that was never sent.
func TestDecline_DailyCountIsRefunded(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		hourly := caller.Limit{Metric: caller.Requests, Rate: 12, Period: 12 * time.Hour, Algorithm: caller.Bucket, Burst: 1}
		daily := caller.Limit{Metric: caller.Requests, Rate: 100, Algorithm: caller.Daily}
		c := join(t, rdb, limits(hourly, daily), func(c *caller.Config) { c.Tuning.Horizon, c.Timeout = 90*time.Minute, 2*time.Hour })
		used := func() string {
			words := strings.Fields(rdb.HGet(t.Context(), scripts.PoolKey("p"), "t:k:requests.daily").Val())
			return words[len(words)-1]
		}
		ctx := caller.WithOptions(t.Context(), caller.Options{Priority: caller.PriorityHigh})
		if _, err := caller.Do(ctx, c, nil, nop); err != nil {
			t.Fatal(err)
		}
		ctx, leave := context.WithCancel(ctx)
		its := booked(ctx, c)
		counts(t, c, 0, 1)
		if n := used(); n != "2" {
			t.Fatalf("%q calls are counted, want 2", n)
		}
		leave()
		<-its
		testkit.Eventually(t, "only the call that was made is counted", func() bool { return used() == "1" })
	})
}
