package apisim

import (
	"errors"
	"fmt"
	"maps"
	"time"
)

// Revoke makes a key, by its ID or its secret, unknown from now on: its calls get a 401 and are counted in the ledger.
// Calls in flight are still answered.
func (s *Server) Revoke(idOrSecret string) error { return s.revoke(idOrSecret, true) }

// Restore undoes Revoke.
func (s *Server) Restore(idOrSecret string) error { return s.revoke(idOrSecret, false) }

func (s *Server) revoke(idOrSecret string, revoked bool) error {
	found, err := s.find(idOrSecret)
	if err != nil {
		return err
	}
	found.account.mu.Lock()
	defer found.account.mu.Unlock()
	found.revoked = revoked
	found.revokedAt = s.now()
	return nil
}

// Rotate gives a key, by its ID or its secret, another secret. Calls with the earlier one are those of an unknown key.
func (s *Server) Rotate(idOrSecret, secret string) error {
	found, err := s.find(idOrSecret)
	if err != nil {
		return err
	}
	s.keysLock.Lock()
	defer s.keysLock.Unlock()
	if secret == "" || s.keys[secret] != nil {
		return errors.New("apisim: the new secret is empty or another key's; choose another")
	}
	maps.DeleteFunc(s.keys, func(_ string, k *key) bool { return k == found })
	s.keys[secret] = found
	return nil
}

// keyOf returns the key with a secret, nil if there is none.
func (s *Server) keyOf(secret string) *key {
	s.keysLock.RLock()
	defer s.keysLock.RUnlock()
	return s.keys[secret]
}

// find returns a key by its ID or its secret.
func (s *Server) find(idOrSecret string) (*key, error) {
	s.keysLock.RLock()
	defer s.keysLock.RUnlock()
	if k := s.keys[idOrSecret]; k != nil {
		return k, nil
	}
	for _, k := range s.keys {
		if k.id == idOrSecret {
			return k, nil
		}
	}
	return nil, fmt.Errorf("apisim: no such key among the %d", len(s.keys)) // which may be a secret
}

// Storm lets every call meet one kind of failure, for a time from now on. A time of 0 ends it.
func (s *Server) Storm(k Kind, d time.Duration) error {
	if new(Failures).rate(k) == nil {
		return fmt.Errorf("apisim: no failure of kind %q; there are %v", k, kinds)
	}
	if d < 0 {
		return fmt.Errorf("apisim: a storm of %v: must not be negative", d)
	}
	s.change.Lock()
	defer s.change.Unlock()
	next := *s.settings.Load()
	next.storm = storm{k, s.now() + d}
	s.settings.Store(&next)
	return nil
}

// OutOfCredit makes an account's calls fail with 429 insufficient_quota from now on.
func (s *Server) OutOfCredit(account string) error { return s.credit(account, true) }

// TopUp undoes OutOfCredit.
func (s *Server) TopUp(account string) error { return s.credit(account, false) }

func (s *Server) credit(id string, broke bool) error {
	a, err := s.account(id)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.broke = broke
	return nil
}

// ForeignUse charges an account for another client's use, as far as it fits, and returns the units.
func (s *Server) ForeignUse(account string, m Metric, units int64) (int64, error) {
	a, err := s.account(account)
	if err != nil {
		return 0, err
	}
	if units <= 0 {
		return 0, fmt.Errorf("apisim: foreign use of %d units: must be positive", units)
	}
	return a.foreignUse(m, units), nil
}

// SetFailure sets the share, 0 to 1, of the calls that meet a kind of failure from now on.
func (s *Server) SetFailure(k Kind, rate float64) error {
	s.change.Lock()
	defer s.change.Unlock()
	next := *s.settings.Load()
	field := next.failures.rate(k)
	if field == nil {
		return fmt.Errorf("apisim: no failure of kind %q; there are %v", k, kinds)
	}
	*field = rate
	if err := next.failures.validate(); err != nil {
		return err
	}
	s.settings.Store(&next)
	return nil
}

// SetLatency sets the latency of answers from now on.
func (s *Server) SetLatency(l Latency) error {
	if err := l.validate(); err != nil {
		return err
	}
	s.change.Lock()
	defer s.change.Unlock()
	next := *s.settings.Load()
	next.latency = l
	s.settings.Store(&next)
	return nil
}

func (s *Server) account(id string) (*account, error) {
	for _, a := range s.accounts {
		if a.id == id {
			return a, nil
		}
	}
	return nil, fmt.Errorf("apisim: no account %q", id)
}
