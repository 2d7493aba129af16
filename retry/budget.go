package retry

import (
	"fmt"
	"sync"
	"time"
)

// budgetSlots is how many seconds a Budget looks back.
const budgetSlots = 10

// Budget limits retries to a share of first attempts, so that a provider in trouble isn't sent several times the usual
// load. Within any ten seconds, counted in whole seconds, it lets through
//
//	share × first attempts + perSecond × 10
//
// retries. It is safe for concurrent use; share one among all calls to one provider.
type Budget struct {
	share, floor float64

	mu      sync.Mutex
	started time.Time
	second  int64 // the latest slot's
	firsts  [budgetSlots]float64
	retries [budgetSlots]float64
}

// NewBudget returns a Budget of the given share of first attempts, in [0, 1], and at least perSecond retries a second,
// so that a service with few calls can retry at all. 0.1 and 1 are good values to start from.
func NewBudget(share, perSecond float64) (*Budget, error) {
	if !(share >= 0 && share <= 1) {
		return nil, fmt.Errorf("retry: a budget's share is %v: use a number from 0 to 1, such as 0.1", share)
	}
	if !(perSecond >= 0 && perSecond <= 1e9) {
		return nil, fmt.Errorf("retry: a budget's least number of retries per second is %v: use a number from 0 to 1e9", perSecond)
	}
	return &Budget{share: share, floor: perSecond * budgetSlots, started: time.Now()}, nil
}

// First counts a first attempt. Do calls it.
func (b *Budget) First() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.firsts[b.advance()]++
}

// Retry takes one retry from the budget and says whether there was one to take. Do calls it.
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

// advance empties the slots of the seconds that have begun since the last call, and returns the present one.
func (b *Budget) advance() int {
	now := int64(time.Since(b.started) / time.Second)
	for s := max(b.second+1, now-budgetSlots+1); s <= now; s++ {
		b.firsts[s%budgetSlots], b.retries[s%budgetSlots] = 0, 0
	}
	b.second = max(b.second, now)
	return int(b.second % budgetSlots)
}
