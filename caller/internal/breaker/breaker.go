// Package breaker has circuit breakers by name. The circuit of a name is in one of three states:
//
//	closed     runs may start; the initial state
//	open       no run may start for a while
//	half-open  one run may start, the trial; its result closes or opens the circuit
//
// The states change so:
//
//	closed → open         FailureThreshold failures in a row
//	open → half-open      OpenFor has passed and a run starts
//	half-open → closed    the trial succeeds
//	half-open → open      the trial fails
//	stays half-open       the trial has no result, or none within OpenFor: the next run is the trial
package breaker

import (
	"sync"
	"time"
)

// Config is how circuits open.
type Config struct {
	// FailureThreshold is the number of failures in a row that opens a circuit. At least 1.
	FailureThreshold int
	// OpenFor is the time for which a circuit stays open until the trial. More than 0.
	OpenFor time.Duration
}

// Name names a circuit by two parts.
type Name [2]string

// Result is what a run shows about its circuit.
type Result uint8

// Values of Result.
const (
	Unknown Result = iota // nothing
	Success
	Failure
)

// keptFor is how many times OpenFor a circuit is kept after its last failure.
const keptFor = 10

// sweep drops the circuits whose last failure is long past. It looks at most once within OpenFor.
func (b *Breaker) sweep(now time.Time) {
	if now.Sub(b.swept) < b.cfg.OpenFor {
		return
	}
	b.swept = now
	for name, c := range b.failed {
		if now.Sub(c.last) > keptFor*b.cfg.OpenFor {
			delete(b.failed, name)
		}
	}
}

// Breaker holds the circuits of a process. It keeps those alone whose last result was a failure, for ten times OpenFor.
// It is safe for concurrent use.
//
// It is used in place of sony/gobreaker for two reasons. gobreaker doesn't say when an open circuit permits the trial
// (its pull request 52), and a call waits until then. It also drops the result of a trial that ends in another state than
// it began in (its issue 122).
type Breaker struct {
	cfg    Config
	mu     sync.Mutex
	failed map[Name]*circuit
	swept  time.Time // when circuits that are long over were last dropped
}

type circuit struct {
	failures int       // in a row
	last     time.Time // of the last failure
	retryAt  time.Time // when the next trial may start; zero: the circuit is closed
	halfOpen bool      // a trial runs; if it doesn't end, the next trial may start at retryAt
}

// New returns a Breaker whose circuits are closed.
func New(cfg Config) *Breaker { return &Breaker{cfg: cfg, failed: map[Name]*circuit{}} }

// OpenFor returns the time for which a circuit stays open.
func (b *Breaker) OpenFor() time.Duration { return b.cfg.OpenFor }

// Quiet reports whether no circuit had a failure last, so that every run may start.
func (b *Breaker) Quiet() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.failed) == 0
}

// Remaining returns the time until a run of the name may start; 0: now.
func (b *Breaker) Remaining(name Name) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.remaining(name)
}

func (b *Breaker) remaining(name Name) time.Duration {
	c := b.failed[name]
	if c == nil || c.retryAt.IsZero() {
		return 0
	}
	return max(time.Until(c.retryAt), 0)
}

// Start reports whether a run of the name may start now. If the circuit was open, the run is its trial. A run that starts
// must call End.
func (b *Breaker) Start(name Name) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.remaining(name) > 0 {
		return false
	}
	if c := b.failed[name]; c != nil && !c.retryAt.IsZero() {
		c.halfOpen, c.retryAt = true, time.Now().Add(b.cfg.OpenFor)
	}
	return true
}

// End records the result of a run, and reports whether the result opened the circuit.
func (b *Breaker) End(name Name, r Result) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.failed[name]
	switch r {
	case Unknown:
		if c != nil && c.halfOpen {
			c.halfOpen, c.retryAt = false, time.Now()
		}
	case Failure:
		if c == nil {
			c = &circuit{}
			b.failed[name] = c
		}
		c.failures, c.last = c.failures+1, time.Now()
		b.sweep(c.last)
		if c.halfOpen || c.retryAt.IsZero() && c.failures >= b.cfg.FailureThreshold {
			c.retryAt, c.halfOpen = time.Now().Add(b.cfg.OpenFor), false
			return true
		}
	case Success:
		delete(b.failed, name)
	}
	return false
}
