package retry

import (
	"fmt"
	"sync"
	"time"
)

// budgetSlots is the number of seconds that a Budget counts.
const budgetSlots = 10

// Budget limits retries to a share of first attempts, so that retries don't multiply the load on a failing provider. Within
// any ten seconds, counted in whole seconds, it allows
//
//	share × first attempts + perSecond × 10
//
// retries. It is safe for concurrent use. Use one Budget for all calls to a provider.
type Budget struct {
	share, floor float64

	mu      sync.Mutex
	started time.Time
	second  int64 // of the latest slot
	firsts  [budgetSlots]float64
	retries [budgetSlots]float64
}

// NewBudget returns a Budget that allows a share of first attempts, in [0, 1], and perSecond retries a second besides. The
// latter let a service with few calls retry at all. 0.1 and 1 suit most services.
func NewBudget(share, perSecond float64) (*Budget, error) {
	if !(share >= 0 && share <= 1) {
		return nil, fmt.Errorf("retry: NewBudget's share is %v: use a number from 0 to 1, such as 0.1", share)
	}
	if !(perSecond >= 0 && perSecond <= 1e9) {
		return nil, fmt.Errorf("retry: NewBudget's perSecond is %v: use a number from 0 to 1e9", perSecond)
	}
	return &Budget{share: share, floor: perSecond * budgetSlots, started: time.Now()}, nil
}

// First counts a first attempt. Do calls it.
func (b *Budget) First() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.firsts[b.advance()]++
}

// Retry takes one retry from the budget if there is one, and reports whether there was. Do calls it.
func (b *Budget) Retry() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	slot := b.advance()
	var firsts, retries float64
	for i := range budgetSlots {
		firsts += b.firsts[i]
		retries += b.retries[i]
	}
	if retries+1 > b.share*firsts+b.floor {
		return false
	}
	b.retries[slot]++
	return true
}

// advance clears the slots of the seconds that have begun since the last call, and returns the index of the current slot.
func (b *Budget) advance() int {
	now := int64(time.Since(b.started) / time.Second)
	for s := max(b.second+1, now-budgetSlots+1); s <= now; s++ {
		b.firsts[s%budgetSlots], b.retries[s%budgetSlots] = 0, 0
	}
	b.second = max(b.second, now)
	return int(b.second % budgetSlots)
}
