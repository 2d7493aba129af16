package caller

import (
	"errors"
	"fmt"
	"time"

	"github.com/penstock/penstock/scripts"
)

// checkAdaptive fills in what the configuration of an adaptive limit leaves out.
func (p *plan) checkAdaptive() error {
	if p.Adaptive == nil {
		return nil
	}
	if p.Concurrency < 1 {
		return errors.New("Adaptive needs Concurrency: set the most calls that an account may ever have in flight")
	}
	a, err := p.Adaptive.Checked(p.Concurrency, p.Tuning.SessionTTL)
	p.Adaptive = &a
	if err != nil {
		return fmt.Errorf("Adaptive: %w", err)
	}
	return nil
}

// samples are what an account's calls have met since Redis was told.
type samples struct {
	ok, dropped int64
	total       time.Duration // of those that went well
	since       time.Time     // of the first; zero: there are none
	peak        int           // the most calls in flight at a time
	seed        int64         // what the provider would take at the moment; 0: it didn't say
	seeded      bool          // Redis was told that
}

// due returns when the samples are to be told: successes by the window, an overload soon.
func (s *samples) due(window time.Duration) time.Time {
	if s.dropped > 0 {
		return s.since.Add(window / 10)
	}
	return s.since.Add(window)
}

// met takes in what an attempt has met, for the adaptive limit.
func (p *pool) met(g *Grant, v Verdict, took time.Duration) {
	if p.plan.Adaptive == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &g.lane.account.met
	switch {
	case v.Outcome == Success:
		s.ok++
		s.total += took
	case v.Outcome == Throttled, v.Outcome == Overloaded, v.Outcome == Transient && v.Reason == timedOut:
		s.dropped++
	default:
		return
	}
	s.begin(p)
}

// begin notes that there is something to tell.
func (s *samples) begin(p *pool) {
	if !s.since.IsZero() {
		return
	}
	s.since = time.Now()
	if p.queue.len() == 0 {
		p.wake() // so that Redis hears of it, also if no call follows
	}
}

// seed takes in how many requests an account's provider would take at the moment, the first time that it says so.
func (p *pool) seed(a *account, remaining int64) {
	if p.plan.Adaptive == nil || remaining < 1 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !a.met.seeded {
		a.met.seed, a.met.seeded = remaining, true
		a.met.begin(p)
	}
}

// samplesDue calls a function with the time at which each account's samples are due.
func (p *pool) samplesDue(due func(time.Time)) {
	if p.plan.Adaptive == nil {
		return
	}
	for _, a := range p.layout.accounts {
		if !a.met.since.IsZero() {
			due(a.met.due(p.plan.Adaptive.Window))
		}
	}
}

// takeSamples returns those that are due as reports, and forgets them: if their call is lost, so are they.
func (p *pool) takeSamples(now time.Time) []scripts.PoolReport {
	if p.plan.Adaptive == nil {
		return nil
	}
	var reports []scripts.PoolReport
	for i, a := range p.layout.accounts {
		s := &a.met
		if s.since.IsZero() || s.due(p.plan.Adaptive.Window).After(now) {
			continue
		}
		reports = append(reports, scripts.PoolReport{
			Kind: scripts.AdaptPermits, Account: i, OK: s.ok, Dropped: s.dropped, For: s.total,
			Peak: int64(max(s.peak, a.held)), Units: s.seed,
		})
		a.met = samples{peak: a.held, seeded: s.seeded}
	}
	return reports
}
