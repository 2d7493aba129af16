package caller

import (
	"sync"
	"sync/atomic"
	"time"
)

// Grant is what an admitted call gets: a key, a place in its limits, a permit. Its methods are safe for concurrent use.
type Grant struct {
	Key     string // key ID
	Account string
	Attempt int // from 1
	// IdempotencyKey is the call's, the same for all its attempts; empty where none is wanted.
	IdempotencyKey string

	secret Secret
	slot   time.Time // when the call may be sent
	lane   *lane
	trial  bool // the key was disabled, and this call tries whether it still is
	pool   *pool
	once   sync.Once

	cost    []int64 // as estimated, by metric
	model   string
	prompt  int64 // tokens that Estimate takes the prompt for, to learn from; 0: nothing is to be learned
	settled atomic.Bool
	ctx     attemptContext
}

// Secret returns the secret of the granted key.
func (g *Grant) Secret() string { return g.secret.Reveal() }

// release gives the permit back. Only the first call counts.
func (g *Grant) release() {
	g.once.Do(func() { g.pool.release(g.lane.account) })
}
