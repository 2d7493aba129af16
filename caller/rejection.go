package caller

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// firstRejection is the first time for which a rejected key isn't used. It doubles while tests of the key fail.
	firstRejection, rejectionGrowth = 2 * time.Second, 2
	// suspectedFor is the time after which a rejection by a key says nothing more about the next one.
	suspectedFor = time.Minute
)

// refusals are what keys and accounts refused one call for. Safe for concurrent use.
//
// A rejection convicts the key if the same key rejects another call, or if a second key accepts this one. A call that two
// keys reject is itself at fault, and convicts neither.
type refusals struct {
	mu        sync.Mutex
	accounts  []string  // that the call doesn't take again, sorted
	keys      []keyName // that the call doesn't take again
	suspects  []keyName // keys that rejected the call and aren't convicted
	elsewhere bool      // another account has been tried because of Verdict.Elsewhere
	blocked   []Outcome // for which the call has blocked an account
	reason    string    // of the rejection by the first of suspects
}

// keyName names a key: name is its ID in admission, which has a fingerprint of the secret.
type keyName struct{ id, account, name string }

// nameOf returns the name of a grant's key.
func nameOf(g *Grant) keyName { return keyName{g.Key, g.Account, g.admission.Key()} }

// exclude adds an account that the call doesn't take again.
func (r *refusals) exclude(account string) {
	if at, ok := slices.BinarySearch(r.accounts, account); !ok {
		r.accounts = slices.Insert(slices.Clone(r.accounts), at, account) // a copy: requests refer to the old one
	}
}

// first reports whether the call has blocked no account for an outcome yet, and records that it does now.
func (r *refusals) first(o Outcome) bool {
	if slices.Contains(r.blocked, o) {
		return false
	}
	r.blocked = append(r.blocked, o)
	return true
}

// suspects are the keys of this process that rejected a call and haven't served one since. Safe for concurrent use.
type suspects struct {
	some  atomic.Bool // byKey isn't empty
	mu    sync.Mutex
	byKey map[string]suspicion // by the key's name
}

type suspicion struct {
	by any // the call
	at time.Time
}

// rejected records that a key rejected a call, and reports whether it rejected another one before.
func (s *suspects) rejected(key string, call any, now time.Time) (convicted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.byKey[key]; ok && old.by != call && now.Sub(old.at) < suspectedFor {
		return true
	}
	if s.byKey == nil {
		s.byKey = map[string]suspicion{}
	}
	s.byKey[key] = suspicion{call, now}
	s.some.Store(true)
	return false
}

// acquit forgets that a key rejected a call.
func (s *suspects) acquit(key string) {
	if !s.some.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byKey, key)
	s.some.Store(len(s.byKey) > 0)
}
