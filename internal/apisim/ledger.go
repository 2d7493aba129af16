package apisim

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Ledger has the server's counts since its start.
type Ledger struct {
	Accounts []AccountLedger `json:"accounts"`
	// Calls is the number of different call IDs that were admitted.
	Calls int64 `json:"calls"`
	// ServedTwice is the number of calls that were served more than once; UnexplainedTwice of those that were
	// served more often than the failures injected into them explain.
	ServedTwice      int64 `json:"served_twice"`
	UnexplainedTwice int64 `json:"unexplained_twice"`
	// UnknownKeys is the number of calls with a key that never existed.
	UnknownKeys int64 `json:"unknown_keys"`
	// Abandoned is the number of calls whose client closed the connection before the response.
	Abandoned int64 `json:"abandoned"`
}

// Counts are the numbers of an account or a key.
type Counts struct {
	Admitted int64 `json:"admitted"`
	// Tokens is the cost of the admitted calls, by TokenCost.
	Tokens    int64            `json:"tokens"`
	Throttled map[Reason]int64 `json:"throttled"`
	Failures  map[Kind]int64   `json:"failures"`
}

// AccountLedger has the counts of one account.
type AccountLedger struct {
	ID string `json:"id"`
	Counts
	Keys   []KeyLedger   `json:"keys"`
	Limits []LimitLedger `json:"limits"`
	// MostInFlight is the highest number of calls in flight ever.
	MostInFlight int `json:"most_in_flight"`
	// MeanInFlight is the number of calls in flight on average, from the first admission to the last end of a call.
	MeanInFlight float64 `json:"mean_in_flight"`
	// First and Last are the times of the first and the last admission; zero if there was none.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// KeyLedger has the counts of one key.
type KeyLedger struct {
	ID string `json:"id"`
	Counts
	Revoked bool `json:"revoked"`
	// AfterRevocation is the number of calls after the revocation; LastAfter is the time from it to the last of them.
	AfterRevocation int64         `json:"after_revocation"`
	LastAfter       time.Duration `json:"last_after_ns"`
}

// LimitLedger has the counts of one limit.
type LimitLedger struct {
	Metric Metric        `json:"metric"`
	Limit  int64         `json:"limit"`
	Per    time.Duration `json:"per_ns"`
	Model  string        `json:"model,omitempty"`
	// Admitted is the units that were admitted.
	Admitted int64 `json:"admitted"`
	// Peak is the most units that were admitted within any window (t-Per, t]; PeakShare the same as a share of the
	// limit, at most 1.
	Peak      int64   `json:"peak"`
	PeakShare float64 `json:"peak_share"`
	// Allowed is the units that the limit let through, at its rate and less foreign use, from the first admission to
	// the last.
	Allowed float64 `json:"allowed"`
	// Utilization is the units admitted after the first call over Allowed. Calls that are spaced evenly at the limit's
	// rate make it 1; a client that fills each window at its start may exceed 1 in a short run. 0 for fewer than two
	// calls.
	Utilization float64 `json:"utilization"`

	foreign     int64
	first, last time.Duration
	firstUnits  int64
}

// Ledger returns the server's counts.
func (s *Server) Ledger() Ledger {
	l := Ledger{UnknownKeys: s.unknown.Load(), Abandoned: s.gone.Load()}
	l.Calls, l.ServedTwice, l.UnexplainedTwice = s.calls.doubled()
	for _, a := range s.accounts {
		l.Accounts = append(l.Accounts, s.accountLedger(a))
	}
	return l
}

func (s *Server) accountLedger(a *account) AccountLedger {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := AccountLedger{ID: a.id, Counts: a.counts.copy(), MostInFlight: a.most}
	if a.counts.admitted > 0 {
		l.First, l.Last = s.start.Add(a.first), s.start.Add(a.last)
	}
	if a.changed > a.first {
		l.MeanInFlight = a.area / (a.changed - a.first).Seconds()
	}
	s.keysLock.RLock()
	defer s.keysLock.RUnlock()
	for _, k := range s.keys {
		if k.account == a {
			l.Keys = append(l.Keys, KeyLedger{
				ID: k.id, Counts: k.counts.copy(), Revoked: k.revoked, AfterRevocation: k.after, LastAfter: k.lastAfter,
			})
		}
	}
	slices.SortFunc(l.Keys, func(x, y KeyLedger) int { return strings.Compare(x.ID, y.ID) })
	for _, w := range a.windows {
		l.Limits = append(l.Limits, w.ledger())
	}
	return l
}

func (w *window) ledger() LimitLedger {
	l := LimitLedger{
		Metric: w.limit.Metric, Limit: w.limit.Limit, Per: w.limit.Per, Model: w.limit.Model,
		Admitted: w.total, Peak: w.peak, PeakShare: float64(w.peak) / float64(w.limit.Limit),
		Allowed: w.allowed(),
		foreign: w.spanned, first: w.first.at, last: w.last, firstUnits: w.first.units,
	}
	if l.Allowed > 0 {
		l.Utilization = float64(w.total-w.first.units) / l.Allowed
	}
	return l
}

func (c counts) copy() Counts {
	return Counts{
		Admitted: c.admitted, Tokens: c.tokens, Throttled: maps.Clone(c.throttled), Failures: maps.Clone(c.failures),
	}
}

// Account returns one account's part, the zero value if there is no such account.
func (l Ledger) Account(id string) AccountLedger {
	for _, a := range l.Accounts {
		if a.ID == id {
			return a
		}
	}
	return AccountLedger{}
}

// Throttled returns the number of refused calls, of all accounts and for all reasons.
func (l Ledger) Throttled() int64 {
	var n int64
	for _, a := range l.Accounts {
		for _, count := range a.Throttled {
			n += count
		}
	}
	return n
}

// Admitted returns the number of admitted calls of all accounts.
func (l Ledger) Admitted() int64 {
	var n int64
	for _, a := range l.Accounts {
		n += a.Admitted
	}
	return n
}

// Utilization returns how well an account used its limits of a metric: the highest Utilization among them.
func (l AccountLedger) Utilization(m Metric) float64 {
	best := 0.0
	for _, limit := range l.Limits {
		if limit.Metric == m {
			best = max(best, limit.Utilization)
		}
	}
	return best
}

// Utilization returns how well all accounts together used their limits of a metric, from the first admission at any of
// them to the last: an account that was idle for half of the time counts as half used. Of several limits of one
// metric, an account's best used one counts.
func (l Ledger) Utilization(m Metric) float64 {
	var limits []LimitLedger
	for _, a := range l.Accounts {
		var best *LimitLedger
		for i, limit := range a.Limits {
			if limit.Metric == m && (best == nil || limit.Utilization > best.Utilization) {
				best = &a.Limits[i]
			}
		}
		if best != nil {
			limits = append(limits, *best)
		}
	}
	first, last := time.Duration(-1), time.Duration(0)
	for _, limit := range limits {
		if limit.Admitted > 0 && (first < 0 || limit.first < first) {
			first = limit.first
		}
		last = max(last, limit.last)
	}
	var used, allowed float64
	for _, limit := range limits {
		used += float64(limit.Admitted - limit.firstUnits)
		allowed += float64(limit.Limit)*float64(last-first)/float64(limit.Per) - float64(limit.foreign)
	}
	if first < 0 || allowed <= 0 {
		return 0
	}
	return used / allowed
}

// Utilization is AccountLedger.Utilization of the account so far.
func (s *Server) Utilization(account string, m Metric) float64 {
	return s.Ledger().Account(account).Utilization(m)
}
