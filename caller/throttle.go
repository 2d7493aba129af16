package caller

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// The cooldown of a limit whose provider gives no time begins at firstCooldown and grows by a factor between these while
// 429s go on. So it is about a quarter of the time for which they have gone on, and that is how late the end of a storm of
// 429s is noticed.
const (
	firstCooldown = 500 * time.Millisecond
	maxCooldown   = time.Minute
	leastGrowth   = 1.15
	mostGrowth    = 1.3
)

// cooldownGrowth returns a factor by which a cooldown grows. It is random, so that accounts that were throttled at the
// same time don't come back at the same time.
func cooldownGrowth() float64 { return leastGrowth + rand.Float64()*(mostGrowth-leastGrowth) }

// throttles are the accounts of this process that were throttled and haven't served a call since. Safe for concurrent use.
type throttles struct {
	some      atomic.Bool // byAccount isn't empty
	mu        sync.Mutex
	byAccount map[string]time.Time // of the last 429
}

// throttled records a 429 of an account, and reports whether it is the first since the account last served a call.
func (t *throttles) throttled(account string, now time.Time) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, again := t.byAccount[account]
	if t.byAccount == nil {
		t.byAccount = map[string]time.Time{}
	}
	t.byAccount[account] = now
	t.some.Store(true)
	return !again || now.Sub(last) > maxCooldown
}

// served records that an account served a call, which began at a time. It reports whether the account was throttled
// before.
func (t *throttles) served(account string, begun time.Time) (again bool) {
	if !t.some.Load() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	last, ok := t.byAccount[account]
	if !ok || begun.Before(last) {
		return false
	}
	delete(t.byAccount, account)
	t.some.Store(len(t.byAccount) > 0)
	return true
}
