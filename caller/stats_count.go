package caller

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/penstock/penstock/caller/internal/history"
)

// Quantiles are the distribution of a duration. They are exact to 1 %, and durations above an hour count as one hour.
type Quantiles struct {
	Count         int64
	P50, P95, P99 time.Duration // that share of the durations is no longer; 0 if Count is 0
	Max           time.Duration
}

// quantiles counts durations in constant memory: about 27 KiB. It is safe for concurrent use.
type quantiles struct {
	mu    sync.Mutex
	hdr   *hdrhistogram.Histogram // microseconds
	count int64
	max   time.Duration
}

// longest is the longest duration that quantiles distinguish.
const longest = time.Hour

func (q *quantiles) init() { q.hdr = hdrhistogram.New(1, longest.Microseconds(), 2) }

func (q *quantiles) add(d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count++
	q.max = max(q.max, d)
	_ = q.hdr.RecordValue(min(max(d, 0), longest).Microseconds()) // in range
}

func (q *quantiles) read() Quantiles {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := func(percent float64) time.Duration {
		return min(time.Duration(q.hdr.ValueAtQuantile(percent))*time.Microsecond, q.max)
	}
	if q.count == 0 {
		return Quantiles{}
	}
	return Quantiles{Count: q.count, P50: at(50), P95: at(95), P99: at(99), Max: q.max}
}

// stats counts calls and attempts. It is safe for concurrent use.
type stats struct {
	calls, succeeded, failed, attempts, throttled atomic.Int64

	refused                       [len(refusalNames)]atomic.Int64 // by RefusalReason
	latency, attemptLatency, wait quantiles
	charged                       []atomic.Int64 // by index of metric

	first sync.Once
	since atomic.Pointer[time.Time] // the first call; nil: there was none

	history history.History

	mu             sync.Mutex // guards what follows
	usage, partial Cost
}

func (s *stats) init(metrics int) {
	s.charged = make([]atomic.Int64, metrics)
	s.latency.init()
	s.attemptLatency.init()
	s.wait.init()
	s.usage, s.partial = Cost{}, Cost{}
}

func (s *stats) call() {
	s.calls.Add(1)
	s.first.Do(func() {
		now := time.Now()
		s.since.Store(&now)
	})
}

// admitted counts an admission that took a time and was charged units.
func (s *stats) admitted(waited time.Duration, units []int64) {
	s.wait.add(waited)
	for i, n := range units {
		s.charged[i].Add(n)
	}
}

func (s *stats) attempt(a *Attempt) {
	now := time.Now()
	s.attempts.Add(1)
	s.attemptLatency.add(a.Latency)
	s.history.Add(now, history.Attempts)
	if a.Verdict.Outcome == Throttled {
		s.throttled.Add(1)
		s.history.Add(now, history.Throttled)
	}
}

func (s *stats) end(took time.Duration, ok bool, refused RefusalReason) {
	now := time.Now()
	s.latency.add(took)
	if ok {
		s.succeeded.Add(1)
		s.history.Add(now, history.Succeeded)
		s.history.Took(now, took)
		return
	}
	s.failed.Add(1)
	s.history.Add(now, history.Failed)
	if refused != NotRefused {
		s.refused[refused].Add(1)
	}
}

// wouldRefuse counts an attempt that a shadow would have refused.
func (s *stats) wouldRefuse(reason RefusalReason) { s.refused[reason].Add(1) }

// used counts the usage of a call. whole is false if its response was cut short.
func (s *stats) used(actual Cost, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for m, n := range actual {
		s.usage[m] += n
		if !whole {
			s.partial[m] += n
		}
	}
}

func (s *stats) read(metrics []Metric) Stats {
	out := Stats{
		Calls: s.calls.Load(), CallsSucceeded: s.succeeded.Load(), CallsFailed: s.failed.Load(),
		Attempts: s.attempts.Load(), AttemptsThrottled: s.throttled.Load(),
		CallLatency: s.latency.read(), AttemptLatency: s.attemptLatency.read(), AdmissionWait: s.wait.read(),
		CallsRefused: map[RefusalReason]int64{}, Charged: Cost{},
	}
	for reason := range s.refused {
		if n := s.refused[reason].Load(); n > 0 {
			out.CallsRefused[RefusalReason(reason)] = n
		}
	}
	for i, m := range metrics {
		out.Charged[m] = s.charged[i].Load()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Used, out.UsedPartial = maps.Clone(s.usage), maps.Clone(s.partial)
	return out
}
