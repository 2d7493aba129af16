package concurrency

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/penstock/penstock/scripts"
)

// Adaptive makes the limit follow what the calls meet, between Min and the semaphore's limit. There is one such limit
// for all processes, in Redis; every process should have the same settings. Tell each call's end with Lease.Done.
//
// An Overload lowers the limit to Backoff of what it was, once in a Window (or in the latency of a call, if that is
// longer), since all calls that were under way meet the same overload. Successes raise it, as long as at least half of
// it is in use: by default (additive increase, multiplicative decrease) by one permit for as many successes as there
// are permits. With Gradient it follows latency as well, so that queues at the far end are noticed before anything is
// refused (Gradient2 of Netflix's concurrency-limits):
//
//	gradient = min(1, max(1/2, Tolerance × baseline / latency))
//	limit    = (1 − Smoothing) × limit + Smoothing × (limit × gradient + Queue)
//
// where latency is a window's mean, and baseline the exponential mean of about 600 windows. The baseline falls by 5 % a
// window while it is above twice the latency, and is never above 1.25 times the lowest latency, so that a long overload
// doesn't come to pass for normal. The lowest latency is forgotten slowly (it doubles in six hours), and at once when
// the limit has sunk to twice Queue: so few calls don't make a queue.
//
// The limit is kept for ten minutes after the last use, and then begins at Initial again.
type Adaptive struct {
	// Gradient follows latency, too. Defaults to false.
	Gradient bool
	// Min is the least number of permits, and the largest request that AcquireN takes. Defaults to 1.
	Min int
	// Initial is the number of permits to begin with. Defaults to 20, or Min if that is more, or the limit if that is
	// less.
	Initial int
	// Backoff is the factor of a decrease, between 0 and 1. Defaults to 0.9.
	Backoff float64
	// Window is how often a process tells how its calls went, from 10 ms to the TTL. Defaults to 250 ms.
	Window time.Duration
	// Tolerance is how far latency may be above the baseline, as a factor, at least 1. Defaults to 1.5.
	Tolerance float64
	// Smoothing is the part of a change that takes effect at once, above 0 and at most 1. Defaults to 0.2.
	Smoothing float64
	// Queue is how many permits more than what latency tells are tried. Defaults to 4.
	Queue float64
}

// WithAdaptive makes the limit adapt; see Adaptive. What NewSemaphore is given is then its upper bound.
func WithAdaptive(a Adaptive) Option { return func(c *config) { own := a; c.adaptive = &own } }

// Checked returns a with its defaults filled in, for a limit of at most that many permits and a TTL, or says what is wrong
// with it.
func (a Adaptive) Checked(limit int, ttl time.Duration) (Adaptive, error) {
	a.defaults(limit)
	return a, a.validate(limit, ttl)
}

// defaults fills in what is zero.
func (a *Adaptive) defaults(limit int) {
	a.Min = cmp.Or(a.Min, 1)
	a.Initial = cmp.Or(a.Initial, min(limit, max(20, a.Min)))
	a.Backoff = cmp.Or(a.Backoff, 0.9)
	a.Window = cmp.Or(a.Window, 250*time.Millisecond)
	a.Tolerance = cmp.Or(a.Tolerance, 1.5)
	a.Smoothing = cmp.Or(a.Smoothing, 0.2)
	a.Queue = cmp.Or(a.Queue, 4)
}

func (a *Adaptive) validate(limit int, ttl time.Duration) error {
	within := func(x, above, most float64) bool { return x > above && x <= most }
	switch {
	case a.Min < 1 || a.Min > limit:
		return fmt.Errorf("adaptive: Min is %d: it must be from 1 to the limit, %d", a.Min, limit)
	case a.Initial < a.Min || a.Initial > limit:
		return fmt.Errorf("adaptive: Initial is %d: it must be from Min, %d, to the limit, %d", a.Initial, a.Min, limit)
	case !within(a.Backoff, 0, 0.9999):
		return fmt.Errorf("adaptive: Backoff is %v: it must be between 0 and 1", a.Backoff)
	case a.Window < 10*time.Millisecond || a.Window > ttl:
		return fmt.Errorf("adaptive: Window is %v: it must be from 10ms to the TTL, %v", a.Window, ttl)
	case !within(a.Tolerance, 0.9999, 1000):
		return fmt.Errorf("adaptive: Tolerance is %v: it must be from 1 to 1000", a.Tolerance)
	case !within(a.Smoothing, 0, 1):
		return fmt.Errorf("adaptive: Smoothing is %v: it must be above 0 and at most 1", a.Smoothing)
	case !within(a.Queue, 0, 1e6):
		return errors.New("adaptive: Queue must be above 0 and at most a million")
	}
	return nil
}

// Outcome is what a call met, as far as the adaptive limit is concerned.
type Outcome int

const (
	// Ignored says nothing about the load: the caller's own mistake, a call that was cancelled.
	Ignored Outcome = iota
	// Succeeded: the call was served; its latency counts.
	Succeeded
	// Overloaded: the call was throttled, refused for overload, or timed out.
	Overloaded
)

// Done releases the lease and tells the adaptive limit what the call met. Its latency is the time since the lease was
// granted. Without WithAdaptive, and after the lease has ended, it is Release.
func (l *Lease) Done(o Outcome) {
	if l.sem.release(l, o) {
		l.end(errReleased)
	}
}

// samples are what calls met since the last report.
type samples struct {
	ok, dropped int64
	total       time.Duration
	since       time.Time // of the first; zero: there are none
	peak        int64     // the most permits in use at a time
}

func (m *samples) add(o Outcome, took time.Duration, now time.Time) {
	switch o {
	case Succeeded:
		m.ok++
		m.total += took
	case Overloaded:
		m.dropped++
	default:
		return
	}
	if m.since.IsZero() {
		m.since = now
	}
}

// due returns when the samples should be reported: successes by the window, an overload soon.
func (m *samples) due(a *Adaptive, sent time.Time) time.Time {
	if m.dropped > 0 {
		return sent.Add(a.Window / 10)
	}
	return m.since.Add(a.Window)
}

// take returns the samples for a report and forgets them: if the report is lost, so are they.
func (m *samples) take(a *Adaptive, used int64) *scripts.SemaphoreAdaptive {
	r := &scripts.SemaphoreAdaptive{
		Gradient: a.Gradient, Min: int64(a.Min), Initial: int64(a.Initial), Backoff: a.Backoff, Every: a.Window,
		Tolerance: a.Tolerance, Smoothing: a.Smoothing, Queue: a.Queue, OK: m.ok, Dropped: m.dropped, Total: m.total,
		Peak: max(m.peak, used),
	}
	*m = samples{peak: used}
	return r
}
