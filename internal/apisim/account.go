package apisim

import (
	"sync"
	"time"
)

// account is the state that one account's keys share. Its lock also guards its keys.
type account struct {
	id          string
	concurrency int
	clock       func() time.Duration

	region   string
	models   []string
	perModel []Limit // copied to each model at its first call

	mu       sync.Mutex
	seen     map[string]bool // models with copies of perModel
	sequence uint64          // of admissions
	windows  []*window
	inFlight int
	most     int
	area     float64       // calls in flight, summed up over time, in seconds
	changed  time.Duration // when inFlight last changed
	broke    bool
	counts   counts
	first    time.Duration
	last     time.Duration
}

// key is one API key of an account. The account's lock guards its state.
type key struct {
	id      string
	account *account

	revoked   bool
	revokedAt time.Duration
	counts    counts
	after     int64         // calls after the revocation
	lastAfter time.Duration // from the revocation to the last of them
}

// counts are what both an account and a key count.
type counts struct {
	admitted  int64
	tokens    int64
	throttled map[Reason]int64
	failures  map[Kind]int64
}

func newCounts() counts {
	return counts{throttled: map[Reason]int64{}, failures: map[Kind]int64{}}
}

// Reason is why a call was refused.
type Reason string

// The reasons for a 429 answer.
const (
	OverRequests    Reason = "requests"
	OverTokens      Reason = "tokens"
	OverConcurrency Reason = "concurrency"
	NoCredit        Reason = "credit"
)

func newAccount(cfg Account, clock func() time.Duration) *account {
	a := &account{
		id: cfg.ID, concurrency: cfg.Concurrency, clock: clock, counts: newCounts(), region: cfg.Region, models: cfg.Models,
		seen: map[string]bool{},
	}
	for _, l := range cfg.Limits {
		if l.PerModel {
			a.perModel = append(a.perModel, l)
			continue
		}
		a.windows = append(a.windows, newWindow(l))
	}
	return a
}

// decision is an account's answer to a call.
type decision struct {
	admitted bool
	revoked  bool
	reason   Reason
	// retryAfter is how long until the call would fit; 0 where that is unknown or never.
	retryAfter time.Duration
	// broken is the limit that refused.
	broken Limit
	quotas []quota
}

// quota is a limit's state after a decision, for the headers.
type quota struct {
	limit     Limit
	remaining int64
	reset     time.Duration
}

// admit decides on a call: all limits and the concurrency, or nothing. An admitted call is in flight until leave.
// fate is the failure injected into the call. free says that this failure isn't counted against the limits.
func (a *account) admit(k *key, c *chatRequest, fate Kind, free, throttledCount bool) decision {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock()
	if k.revoked {
		k.after++
		k.lastAfter = now - k.revokedAt
		return decision{revoked: true}
	}
	a.addModel(c.Model)
	d := a.judge(now, c)
	if !d.admitted {
		a.counts.throttled[d.reason]++
		k.counts.throttled[d.reason]++
		if throttledCount && d.reason != NoCredit {
			a.charge(now, c, false)
		}
		d.quotas = a.quotas(now, c)
		return d
	}
	if !free {
		a.sequence++
		c.sequence = a.sequence
		a.charge(now, c, true)
	}
	a.note(now, k, c, fate)
	d.quotas = a.quotas(now, c)
	return d
}

// judge decides whether a call may pass. It changes nothing but what has expired.
func (a *account) judge(now time.Duration, c *chatRequest) decision {
	if a.broke {
		return decision{reason: NoCredit}
	}
	d := decision{admitted: true}
	for _, w := range a.windows {
		if !w.applies(c) {
			continue
		}
		w.expire(now)
		units := w.units(c)
		if w.fits(units) {
			continue
		}
		wait, possible := w.retryAfter(now, units)
		if !possible { // the call never fits
			return decision{reason: Reason(w.limit.Metric), broken: w.limit}
		}
		if wait > d.retryAfter {
			d = decision{reason: Reason(w.limit.Metric), broken: w.limit, retryAfter: wait}
		}
	}
	if d.admitted && a.concurrency > 0 && a.inFlight >= a.concurrency {
		return decision{reason: OverConcurrency}
	}
	return d
}

// charge enters a call into the logs: as an admitted one, or as the penalty of a refused one, which costs requests only.
func (a *account) charge(now time.Duration, c *chatRequest, own bool) {
	for _, w := range a.windows {
		if w.applies(c) && (own || w.limit.Metric == Requests) {
			w.add(entry{at: now, units: w.units(c), own: own, sequence: c.sequence})
		}
	}
}

// note counts an admission.
func (a *account) note(now time.Duration, k *key, c *chatRequest, fate Kind) {
	if a.counts.admitted == 0 {
		a.first = now
	}
	a.last = now
	a.flight(now, 1)
	a.most = max(a.most, a.inFlight)
	for _, n := range []*counts{&a.counts, &k.counts} {
		n.admitted++
		n.tokens += c.tokens
		if fate != "" {
			n.failures[fate]++
		}
	}
}

// leave ends a call's time in flight.
func (a *account) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flight(a.clock(), -1)
}

// flight changes the number of calls in flight.
func (a *account) flight(now time.Duration, by int) {
	a.area += float64(a.inFlight) * (now - a.changed).Seconds()
	a.changed = now
	a.inFlight += by
}

// foreignUse charges what another client used, as far as it fits, and returns the units.
func (a *account) foreignUse(m Metric, units int64) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock()
	for _, w := range a.windows {
		if w.limit.Metric == m {
			w.expire(now)
			units = min(units, w.remaining())
		}
	}
	if units <= 0 {
		return 0
	}
	for _, w := range a.windows {
		if w.limit.Metric == m {
			w.add(entry{at: now, units: units})
			w.foreign += units
		}
	}
	return units
}

// quotas returns, per metric, the limit with the smallest share left.
func (a *account) quotas(now time.Duration, c *chatRequest) []quota {
	var tightest []quota
	for _, m := range []Metric{Requests, Tokens} {
		var found *quota
		least := 2.0
		for _, w := range a.windows {
			if w.limit.Metric != m || !w.applies(c) {
				continue
			}
			w.expire(now)
			if share := float64(w.remaining()) / float64(w.limit.Limit); share < least {
				least = share
				found = &quota{limit: w.limit, remaining: w.remaining(), reset: w.full(now)}
			}
		}
		if found != nil {
			tightest = append(tightest, *found)
		}
	}
	return tightest
}

func (w *window) applies(c *chatRequest) bool {
	return w.limit.Model == "" || w.limit.Model == c.Model
}

func (w *window) units(c *chatRequest) int64 {
	if w.limit.Metric == Tokens {
		return c.tokens
	}
	return 1
}
