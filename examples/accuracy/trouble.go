package main

import (
	"context"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/apisim"
)

// foreignTick is how often the stranger comes.
const foreignTick = 20 * time.Millisecond

// trouble lets a stranger take half of what an account allows, from the start; after a third of the time it revokes a key
// and takes an account's credit. It returns a function that ends it.
func trouble(ctx context.Context, sim *apisim.Server, s *scenario, duration time.Duration) func() {
	ctx, cancel := context.WithCancel(ctx)
	var gone sync.WaitGroup
	gone.Go(func() {
		if pause(ctx, duration/3) == nil {
			_ = sim.Revoke(revokedKey) // there are such a key and account
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
			_, _ = sim.ForeignUse(foreignAccount, apisim.Requests, due-taken) // what doesn't fit, the stranger goes without
			taken = due
		}
	})
	return func() {
		cancel()
		gone.Wait()
	}
}
