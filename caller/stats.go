package caller

import (
	"sync"
	"sync/atomic"
	"time"
)

// Stats is what a Caller did since New.
type Stats struct {
	Calls             int64 // calls begun
	CallsSucceeded    int64
	CallsFailed       int64
	Attempts          int64 // attempts sent
	AttemptsThrottled int64 // attempts that the provider answered with a limit exceeded
	// Missed counts slots given up because this process was held up beyond the slack.
	SlotsMissed int64
	// Blocked is how long calls of this process waited for each constraint: a metric's name, "concurrency" or
	// "cooldown". It is time on the clock, not a sum over calls.
	BlockedBy map[string]time.Duration
	// Binding is the constraint that held calls back for more than half the time since the first call, if there is one.
	Bottleneck string
	// Calibration is what the prompt's part of estimates is multiplied by, by model; of models without enough answers it
	// has nothing. See Profile.Calibrated.
	PromptRatios map[string]float64
	// Waiting is how many calls wait for admission now, and InFlight how many are admitted and not over.
	CallsWaiting, CallsInFlight int
}

// Names of constraints that aren't metrics.
const (
	ConstraintConcurrency = "concurrency"
	ConstraintCooldown    = "cooldown"
)

// stats counts. All its methods are safe for concurrent use.
type stats struct {
	calls, succeeded, failed, attempts, throttled, missed atomic.Int64

	first   sync.Once
	mu      sync.Mutex
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
	s.calls.Add(1)
	s.first.Do(func() {
		s.mu.Lock()
		s.since = time.Now()
		s.mu.Unlock()
	})
}

func (s *stats) attempt(v Verdict) {
	s.attempts.Add(1)
	if v.Outcome == Throttled {
		s.throttled.Add(1)
	}
}

func (s *stats) end(ok bool) {
	if ok {
		s.succeeded.Add(1)
	} else {
		s.failed.Add(1)
	}
}

func (s *stats) read() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.settle(now)
	out := Stats{
		Calls: s.calls.Load(), CallsSucceeded: s.succeeded.Load(), CallsFailed: s.failed.Load(),
		Attempts: s.attempts.Load(), AttemptsThrottled: s.throttled.Load(), SlotsMissed: s.missed.Load(),
		BlockedBy: make(map[string]time.Duration, len(s.spent)),
	}
	for name, d := range s.spent {
		out.BlockedBy[name] = d
		if !s.since.IsZero() && d > now.Sub(s.since)/2 {
			out.Bottleneck = name
		}
	}
	return out
}
