package caller

import (
	"sync"
	"time"
)

// Stats is what a Caller did since New.
type Stats struct {
	Calls     int64 // calls begun
	Succeeded int64
	Failed    int64
	Attempts  int64 // attempts sent
	Throttled int64 // attempts that the provider answered with a limit exceeded
	// Missed counts slots given up because this process was held up beyond the slack.
	Missed int64
	// Blocked is how long calls of this process waited for each constraint: a metric's name, "concurrency" or
	// "cooldown". It is time on the clock, not a sum over calls.
	Blocked map[string]time.Duration
	// Binding is the constraint that held calls back for more than half the time since the first call, if there is one.
	Binding string
	// Calibration is what the prompt's part of estimates is multiplied by, by model; of models without enough answers it
	// has nothing. See Profile.Calibrated.
	Calibration map[string]float64
	// Waiting is how many calls wait for admission now, and InFlight how many are admitted and not over.
	Waiting, InFlight int
}

// Names of constraints that aren't metrics.
const (
	BindingConcurrency = "concurrency"
	BindingCooldown    = "cooldown"
)

// stats counts. All its methods are safe for concurrent use.
type stats struct {
	mu      sync.Mutex
	counts  Stats
	since   time.Time // the first call
	binding string    // what is in the way now
	from    time.Time // since when
	until   time.Time // and until when; zero: as long as nothing else is heard
	spent   map[string]time.Duration
}

func (s *stats) begin() { s.spent = map[string]time.Duration{} }

// blocked takes in what calls wait for from now on, until the time given or, if that is zero, until the next call of
// this method.
func (s *stats) blocked(now time.Time, binding string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(now)
	s.binding, s.until = binding, until
}

// settle adds up the time until now.
func (s *stats) settle(now time.Time) {
	end := now
	if !s.until.IsZero() && s.until.Before(end) {
		end = s.until
	}
	if s.binding != "" && end.After(s.from) {
		s.spent[s.binding] += end.Sub(s.from)
	}
	s.from = now
}

func (s *stats) call() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Calls++
	if s.since.IsZero() {
		s.since = time.Now()
	}
}

func (s *stats) attempt(v Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Attempts++
	if v.Outcome == Throttled {
		s.counts.Throttled++
	}
}

func (s *stats) end(ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok {
		s.counts.Succeeded++
	} else {
		s.counts.Failed++
	}
}

func (s *stats) missedSlot() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Missed++
}

func (s *stats) read() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.settle(now)
	out := s.counts
	out.Blocked = make(map[string]time.Duration, len(s.spent))
	for name, d := range s.spent {
		out.Blocked[name] = d
		if !s.since.IsZero() && d > now.Sub(s.since)/2 {
			out.Binding = name
		}
	}
	return out
}
