package concurrency

import (
	"cmp"
	"fmt"
	"time"

	"github.com/penstock/penstock/scripts"
)

// Adaptive makes the limit follow the results of calls, between Min and the semaphore's limit. All processes share one such
// limit, in Redis, and should have the same settings. Report each call's result with Lease.Done.
//
// A Dropped call lowers the limit to Backoff of its value. Calls in flight together meet the same overload, so the limit
// falls at most once in a Window, or in a call's latency if that is longer. Succeeded calls raise it while at least half of
// it is in use. By default (additive increase, multiplicative decrease), as many successes as there are permits raise it by
// one permit. With Gradient it also follows latency, and so reacts to queues at the provider before calls are refused
// (Gradient2 of Netflix's concurrency-limits):
//
//	gradient = min(1, max(1/2, Tolerance × baseline / latency))
//	limit    = (1 − Smoothing) × limit + Smoothing × (limit × gradient + Queue)
//
// Latency is a window's mean. The baseline is the exponential mean of about 600 windows. It falls by 5 % a window while it
// is above twice the latency, and is at most 1.25 times the lowest latency, so that a long overload doesn't become the
// baseline. The lowest latency doubles in six hours. It is measured anew when the limit has sunk to twice Queue, because so
// few calls don't make a queue.
//
// Redis keeps the limit for ten minutes after the last use. Then it starts at Initial again.
type Adaptive struct {
	// Gradient makes the limit follow latency, too. Defaults to false.
	Gradient bool
	// Min is the lowest limit, in permits, and the largest request that AcquireN takes. From 1 to the limit. Defaults to 1.
	Min int
	// Initial is the limit at the start, in permits. From Min to the limit. Defaults to 20, but at least Min and at most the
	// limit.
	Initial int
	// Backoff is the factor of a decrease, above 0 and below 1. Defaults to 0.9.
	Backoff float64
	// Window is the time between reports of results. From 10 ms to the session's TTL. Defaults to 250 ms.
	Window time.Duration
	// Tolerance is the ratio of latency to baseline up to which the limit doesn't fall. From 1 to 1,000. Defaults to 1.5.
	Tolerance float64
	// Smoothing is the part of a change that takes effect at once. Above 0, at most 1. Defaults to 0.2.
	Smoothing float64
	// Queue is the number of permits that the gradient adds to probe for more. Above 0, at most 1,000,000. Defaults to 4.
	Queue float64
}

// Checked returns a with its defaults, for a semaphore of that limit and session TTL, or an error that names the field that
// is out of range.
func (a Adaptive) Checked(limit int, ttl time.Duration) (Adaptive, error) {
	a.defaults(limit)
	return a, a.validate(limit, ttl)
}

// defaults replaces zero fields.
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
		return fmt.Errorf("adaptive: Min is %d: use a number from 1 to the limit, %d", a.Min, limit)
	case a.Initial < a.Min || a.Initial > limit:
		return fmt.Errorf("adaptive: Initial is %d: use a number from Min, %d, to the limit, %d", a.Initial, a.Min, limit)
	case !within(a.Backoff, 0, 0.9999):
		return fmt.Errorf("adaptive: Backoff is %v: use a number above 0 and below 1", a.Backoff)
	case a.Window < 10*time.Millisecond || a.Window > ttl:
		return fmt.Errorf("adaptive: Window is %v: use a duration from 10ms to the session's TTL, %v", a.Window, ttl)
	case !within(a.Tolerance, 0.9999, 1000):
		return fmt.Errorf("adaptive: Tolerance is %v: use a number from 1 to 1000", a.Tolerance)
	case !within(a.Smoothing, 0, 1):
		return fmt.Errorf("adaptive: Smoothing is %v: use a number above 0 and at most 1", a.Smoothing)
	case !within(a.Queue, 0, 1e6):
		return fmt.Errorf("adaptive: Queue is %v: use a number above 0 and at most 1e6", a.Queue)
	}
	return nil
}

// Outcome is the result of a call, for the adaptive limit.
type Outcome int

// Values of Outcome.
const (
	// Ignored: the result says nothing about the load, such as a client error or a cancelled call.
	Ignored Outcome = iota
	// Succeeded: the call was served. Its latency counts.
	Succeeded
	// Dropped: the call was throttled, refused for overload, or timed out.
	Dropped
)

// Done releases the lease and reports the call's result to the adaptive limit. The call's latency is the time since the
// lease was granted. Without Config.Adaptive, or after the lease has ended, Done is Release.
func (l *Lease) Done(o Outcome) {
	if l.sem.release(l, o) {
		l.end(errReleased)
	}
}

// samples are the results of calls since the last report.
type samples struct {
	ok, dropped int64
	total       time.Duration // latencies of ok
	since       time.Time     // of the first; zero: there are none
	peak        int64         // the most permits in use at a time
}

func (m *samples) add(o Outcome, took time.Duration, now time.Time) {
	switch o {
	case Succeeded:
		m.ok++
		m.total += took
	case Dropped:
		m.dropped++
	default:
		return
	}
	if m.since.IsZero() {
		m.since = now
	}
}

// due returns when the samples should be reported: at the end of the window, or after a tenth of it if a call was dropped.
func (m *samples) due(a *Adaptive, sent time.Time) time.Time {
	if m.dropped > 0 {
		return sent.Add(a.Window / 10)
	}
	return m.since.Add(a.Window)
}

// take moves the samples into a report. If the report is lost, so are they.
func (m *samples) take(a *Adaptive, used int64) *scripts.SemaphoreAdaptive {
	r := &scripts.SemaphoreAdaptive{
		Gradient: a.Gradient, Min: int64(a.Min), Initial: int64(a.Initial), Backoff: a.Backoff, Every: a.Window,
		Tolerance: a.Tolerance, Smoothing: a.Smoothing, Queue: a.Queue, OK: m.ok, Dropped: m.dropped, Total: m.total,
		Peak: max(m.peak, used),
	}
	*m = samples{peak: used}
	return r
}
