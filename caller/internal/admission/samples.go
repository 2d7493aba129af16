package admission

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

// samples are the results of an account's calls since the last report, for the adaptive limit.
type samples struct {
	served, overloaded int64
	latency            time.Duration // sum over the calls that were served
	since              time.Time     // of the first; zero: there are none
	peak               int           // most calls in flight at a time
	initial            int64         // calls that the provider would take; 0: it didn't say
	initialSet         bool          // initial has been reported
}

// add adds the result of an attempt.
func (s *samples) add(sample Sample, latency time.Duration, now time.Time) {
	switch sample {
	case Served:
		s.served++
		s.latency += latency
	case Overloaded:
		s.overloaded++
	case None:
		return
	}
	s.begin(now)
}

// setInitialLimit sets the number of calls that the provider would take. Only the first positive number counts, and
// setInitialLimit reports whether it is that.
func (s *samples) setInitialLimit(calls int64, now time.Time) bool {
	if s.initialSet || calls < 1 {
		return false
	}
	s.initial, s.initialSet = calls, true
	s.begin(now)
	return true
}

func (s *samples) begin(now time.Time) {
	if s.since.IsZero() {
		s.since = now
	}
}

// admitted records the calls in flight after an admission.
func (s *samples) admitted(held int) { s.peak = max(s.peak, held) }

// due returns when the samples are to be reported: at the end of a window, or after an overload at a tenth of it.
func (s *samples) due(window time.Duration) (time.Time, bool) {
	if s.overloaded > 0 {
		window /= 10
	}
	return s.since.Add(window), !s.since.IsZero()
}

// drain returns the samples as the report of an account with held calls in flight, if they are due, and starts anew.
// They aren't put back if the script call fails: a process with many calls soon has new ones.
func (s *samples) drain(now time.Time, window time.Duration, account, held int) (report scripts.PoolReport, ok bool) {
	if at, some := s.due(window); !some || at.After(now) {
		return report, false
	}
	report = scripts.PoolReport{
		Kind: scripts.AdaptPermits, Account: account, OK: s.served, Dropped: s.overloaded, For: s.latency,
		Peak: int64(max(s.peak, held)), Units: s.initial,
	}
	*s = samples{peak: held, initialSet: s.initialSet}
	return report, true
}
