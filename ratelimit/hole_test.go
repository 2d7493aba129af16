package ratelimit_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/ratelimit"
)

// TestCancel_ReturnsAllInAnyOrder cancels 100 bookings in several orders: the next one gets the earliest time again.
func TestCancel_ReturnsAllInAnyOrder(t *testing.T) {
	const n = 100
	orders := map[string]func(i int) int{
		"first to last": func(i int) int { return i },
		"last to first": func(i int) int { return n - 1 - i },
	}
	for seed := range 3 {
		perm := rand.New(rand.NewPCG(uint64(seed), 1)).Perm(n)
		orders["random"+string(rune('0'+seed))] = func(i int) int { return perm[i] }
	}
	for name, at := range orders {
		for _, burst := range []int{1, 5} {
			for _, pause := range []bool{false, true} {
				t.Run(name, func(t *testing.T) {
					l := ratelimit.NewLimiter(redistest.Client(t))
					limit := ratelimit.Limit{Rate: 1, Burst: burst, Period: time.Minute}
					var all []*ratelimit.Reservation
					for range n {
						all = append(all, reserve(t, l, limit, 1))
					}
					for i := range n {
						all[at(i)].Cancel()
						if pause && i%10 == 0 {
							remaining(t, l, limit, 0) // carries the refunds so far
						}
					}
					testkit.Eventually(t, "all bookings are given back", func() bool {
						res, err := l.Peek(t.Context(), "k", limit)
						return err == nil && res.Remaining >= burst-1
					})
				})
			}
		}
	}
}

// TestWait_ReturnsBookingsOfWaitersThatLeave ends the contexts of 200 waiters together.
func TestWait_ReturnsBookingsOfWaitersThatLeave(t *testing.T) {
	l := ratelimit.NewLimiter(redistest.Client(t))
	limit := ratelimit.Limit{Rate: 10, Burst: 1, Period: time.Second}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() { _ = l.Wait(ctx, "k", limit) })
	}
	testkit.Eventually(t, "all waiters have booked", func() bool {
		res, err := l.Peek(t.Context(), "k", limit)
		return err == nil && res.ResetAfter > 15*time.Second
	})
	cancel()
	wg.Wait()
	testkit.Eventually(t, "the bookings are given back", func() bool {
		res, err := l.Peek(t.Context(), "k", limit)
		return err == nil && res.ResetAfter < 700*time.Millisecond
	})
}

// TestCancel_KeepsLaterBookings cancels bookings below a live one: only what the burst permits comes back.
func TestCancel_KeepsLaterBookings(t *testing.T) {
	l := ratelimit.NewLimiter(redistest.Client(t))
	limit := ratelimit.Limit{Rate: 1, Burst: 1, Period: time.Minute}
	var all []*ratelimit.Reservation
	for range 10 {
		all = append(all, reserve(t, l, limit, 1))
	}
	for _, r := range all[:9] {
		r.Cancel()
	}
	time.Sleep(50 * time.Millisecond)
	if d := reserve(t, l, limit, 1).Time().Sub(all[9].Time()); d < 59*time.Second {
		t.Errorf("got %v after the live booking, want a minute", d)
	}
}
