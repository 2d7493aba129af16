package caller

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
)

const (
	// missingFor is the time for which an account isn't asked for a model that it doesn't have.
	missingFor = time.Hour
	// maxMissing bounds the accounts and models that are recorded.
	maxMissing = 10_000
)

// missing are the models that accounts don't have. Each process learns them from its own calls. Safe for concurrent use.
type missing struct {
	some  atomic.Bool // until isn't empty
	mu    sync.Mutex
	until map[place]time.Time
}

// place is a model at an account.
type place struct{ account, model string }

// add records that an account doesn't have a model.
func (m *missing) add(account, model string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.until == nil {
		m.until = map[place]time.Time{}
	}
	if len(m.until) >= maxMissing {
		clear(m.until)
	}
	m.until[place{account, model}] = now.Add(missingFor)
	m.some.Store(true)
}

// served records that an account served a model.
func (m *missing) served(account, model string) {
	if !m.some.Load() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.until, place{account, model})
	m.some.Store(len(m.until) > 0)
}

// exclude adds the accounts that don't have a model to those that a call excludes, and reports whether any account is left.
// If none is, it adds none: any account is asked, and the provider says so.
func (m *missing) exclude(model string, accounts func() []admission.Account, excluded []string, now time.Time) (all []string, left bool) {
	if model == "" || !m.some.Load() {
		return excluded, true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	all = slices.Clone(excluded)
	for _, a := range accounts() {
		switch {
		case slices.Contains(excluded, a.ID):
		case m.until[place{a.ID, model}].After(now):
			all = append(all, a.ID)
		default:
			left = true
		}
	}
	if !left {
		return excluded, false
	}
	slices.Sort(all)
	return all, true
}
