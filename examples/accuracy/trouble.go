package main

import (
	"context"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/apisim"
)

// foreignTick is the time between two requests of the other client.
const foreignTick = 20 * time.Millisecond

// trouble makes another client use half of an account from the start. After a third of the time it revokes a key and ends
// an account's credit. It returns a function that ends the trouble.
func trouble(ctx context.Context, sim *apisim.Server, s *scenario, duration time.Duration) func() {
	ctx, cancel := context.WithCancel(ctx)
	var gone sync.WaitGroup
	gone.Go(func() {
		if pause(ctx, duration/3) == nil {
			_ = sim.Revoke(revokedKey) // the key and the account exist
			_ = sim.OutOfCredit(brokeAccount)
		}
	})
	gone.Go(func() {
		tick := time.NewTicker(foreignTick)
		defer tick.Stop()
		began := time.Now()
		for taken := int64(0); ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			due := int64(time.Since(began).Seconds() / s.Per.Seconds() * float64(s.Requests) / 2)
			_, _ = sim.ForeignUse(foreignAccount, apisim.Requests, due-taken) // the other client does without what doesn't fit
			taken = due
		}
	})
	return func() {
		cancel()
		gone.Wait()
	}
}
