package apisim

import "fmt"

// Revoke makes a key, by its ID or its secret, unknown from now on: its calls get a 401 and are counted in the ledger.
// Calls in flight are still answered.
func (s *Server) Revoke(idOrSecret string) error { return s.revoke(idOrSecret, true) }

// Restore undoes Revoke.
func (s *Server) Restore(idOrSecret string) error { return s.revoke(idOrSecret, false) }

func (s *Server) revoke(idOrSecret string, revoked bool) error {
	found := s.keys[idOrSecret]
	for _, k := range s.keys {
		if k.id == idOrSecret {
			found = k
		}
	}
	if found == nil {
		return fmt.Errorf("apisim: no such key among the %d", len(s.keys)) // without naming it: it may be a secret
	}
	found.account.mu.Lock()
	defer found.account.mu.Unlock()
	found.revoked = revoked
	found.revokedAt = s.now()
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

// ForeignUse charges an account the use of another client, as far as it fits, and returns the charged units.
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

// SetLatency sets how long answers take from now on.
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
