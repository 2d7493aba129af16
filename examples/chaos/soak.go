package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/apisim"
)

const (
	// soakShare is the share of calls that meet each kind of failure of the provider in a soak.
	soakShare = 0.02
	// soakThrottled is the share of 429s by the provider's limits that a soak may have.
	soakThrottled = 0.002
	// soakAttempts bounds the attempts of a call: a fifth of them fail.
	soakAttempts = 20
	// soakSamples is the number of samples of memory and goroutines of each worker.
	soakSamples = 60
	// shortestSoak has both deaths of Redis and time to recover.
	shortestSoak = 10 * time.Second
	// A worker's last quarter may have this factor of the goroutines and heap of its second quarter, and so many in addition.
	soakGrowth         = 1.25
	soakMoreMB         = 4
	soakMoreGoroutines = 24
)

// soakLoad returns the load of a soak: every failure of the provider at once, for a duration.
func soakLoad(l load, duration time.Duration) load {
	l.AttemptTimeout, l.CallTimeout, l.Attempts = 3*time.Second, 2*time.Minute, soakAttempts
	l.Failures = apisim.Failures{
		Overloaded: soakShare, Error: soakShare, Reset: soakShare, Cut: soakShare, Hang: soakShare, Stall: soakShare,
		Embedded: soakShare, Empty: soakShare, Page: soakShare, Blip: soakShare, Busy: soakShare,
	}
	l.SampleEvery = duration / soakSamples
	return l
}

func (o *options) checkSoak() error {
	switch {
	case o.soak == 0:
		return nil
	case o.all || o.kind != "" || o.servers != single:
		return errors.New("-soak is given with -all, -kind or other -servers: it is a run of its own, on a single Redis")
	case o.soak < shortestSoak:
		return fmt.Errorf("-soak is %v: use at least %v", o.soak, shortestSoak)
	}
	return nil
}

// soakPlan returns a run in which Redis is killed twice.
func (o *options) soakPlan() plan {
	i := slices.IndexFunc(kinds, func(k *kind) bool { return k.name == "redis-crash" })
	crash := func(at time.Duration) planned { return planned{kind: kinds[i], at: at, last: kinds[i].most} }
	return plan{"soak", o.seed, o.soak, []planned{crash(o.soak / 3), crash(2 * o.soak / 3)}}
}

// sample is what a worker had at a time.
type sample struct {
	Goroutines int
	HeapMB     float64 // after a garbage collection
}

// sampler takes samples until end.
type sampler struct {
	samples []sample
	stop    chan struct{}
	running sync.WaitGroup
}

// startSampler takes a sample each time that every has passed; 0: never.
func startSampler(every time.Duration) *sampler {
	s := &sampler{stop: make(chan struct{})}
	if every <= 0 {
		return s
	}
	s.running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.samples = append(s.samples, takeSample())
			case <-s.stop:
				return
			}
		}
	})
	return s
}

// end ends the sampler and returns its samples.
func (s *sampler) end() []sample {
	close(s.stop)
	s.running.Wait()
	return s.samples
}

func takeSample() sample {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return sample{runtime.NumGoroutine(), float64(m.HeapAlloc) / (1 << 20)}
}

// soak is what a soak has shown beyond the ledger's judgement.
type soak struct {
	ThrottledShare float64 `json:"throttled_share"` // of the provider's limits, of all attempts
	FailuresMet    int     `json:"failures_met"`    // attempts without a whole answer
	// Of the worker that grew most: its mean in the second and in the last quarter of the time.
	HeapMB     [2]float64 `json:"heap_mb"`
	Goroutines [2]float64 `json:"goroutines"`
}

// judgeSoak judges a soak by its own bounds, which stand in place of the ledger's. Redis loses up to a second of what it had
// acknowledged with each death, so limits are judged by the 429s alone.
func (d *driver) judgeSoak(r *result) {
	s := &soak{}
	for _, n := range r.Throttled {
		s.ThrottledShare += float64(n) / float64(max(r.Attempts, 1))
	}
	for _, a := range d.recorder.Attempts() {
		if !a.Whole {
			s.FailuresMet++
		}
	}
	r.Soak, r.Defects = s, []string{}
	for what, n := range map[string]int{
		"calls lost": r.Lost, "calls failed": r.Failed, "calls written twice": r.WrittenTwice, "lines torn": r.Torn,
		"calls repeated after a whole answer, without a reason": r.Doubled, "permits still taken at the end": r.PermitsLeft,
		"workers ended early": r.EndedEarly,
	} {
		r.breaksf(n > 0, "%d %s", n, what)
	}
	r.breaksf(s.ThrottledShare > soakThrottled, "429s: %.2f %% of the attempts, at most %.2f %% are sound",
		100*s.ThrottledShare, 100*soakThrottled)
	for _, w := range d.fleet.workers {
		d.judgeGrowth(r, w)
	}
	slices.Sort(r.Defects)
}

// judgeGrowth judges whether a worker's memory and goroutines were flat.
func (d *driver) judgeGrowth(r *result, w *worker) {
	heap := quarters(w.samples, func(s sample) float64 { return s.HeapMB })
	goroutines := quarters(w.samples, func(s sample) float64 { return float64(s.Goroutines) })
	first := w == d.fleet.workers[0]
	if first || heap[1]-heap[0] > r.Soak.HeapMB[1]-r.Soak.HeapMB[0] {
		r.Soak.HeapMB = heap
	}
	if first || goroutines[1]-goroutines[0] > r.Soak.Goroutines[1]-r.Soak.Goroutines[0] {
		r.Soak.Goroutines = goroutines
	}
	r.breaksf(heap[1] > soakGrowth*heap[0]+soakMoreMB, "worker %s: its heap grew from %.1f to %.1f MB", w.task.Name, heap[0], heap[1])
	r.breaksf(goroutines[1] > soakGrowth*goroutines[0]+soakMoreGoroutines,
		"worker %s: its goroutines grew from %.0f to %.0f", w.task.Name, goroutines[0], goroutines[1])
}

// breaksf adds a line to the defects if something broke.
func (r *result) breaksf(broke bool, format string, args ...any) {
	if broke {
		r.Defects = append(r.Defects, fmt.Sprintf(format, args...))
	}
}

// quarters returns the means of a figure in the second and in the last quarter of the samples.
func quarters(all []sample, figure func(sample) float64) (out [2]float64) {
	n := len(all)
	for i, part := range [][]sample{all[n/4 : n/2], all[n-n/4:]} {
		for _, s := range part {
			out[i] += figure(s) / float64(len(part))
		}
	}
	return out
}
