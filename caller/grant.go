package caller

import (
	"context"
	"slices"
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
	lease  context.Context // ends when the permit is lost; nil: it can't be

	cost    []int64 // as charged, by metric
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

// inherited returns the same place for another call.
func (g *Grant) inherited() *Grant {
	return &Grant{
		Key: g.Key, Account: g.Account, secret: g.secret, slot: g.slot, lane: g.lane, trial: g.trial, pool: g.pool, cost: g.cost,
		lease: g.lease,
	}
}

// does reports whether the grant, which nothing was sent with, does for another call, one for models of that family. One
// with an affinity waits for its own account.
func (g *Grant) does(w *waiter, family string) bool {
	if g.lane.family != family || w.affinity != "" || slices.Contains(w.except, g.Account) || w.before(g.slot) {
		return false
	}
	for i, charged := range g.cost {
		if w.cost[i] > charged {
			return false
		}
	}
	return true
}
