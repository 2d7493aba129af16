// Package hedge runs a function a second time where the first run is slow, and takes the result that comes first.
package hedge

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

// Config is when a second run starts.
type Config struct {
	// After is the least time from the start of the first run to the start of the second. More than 0.
	After time.Duration
	// Percentile is the share of recent runs of the same name that the first run must exceed, from 0.5 to less than 1. It
	// counts from 64 runs on, and where it is longer than After. Defaults to 0: After alone.
	Percentile float64
	// Allow reports whether a second run may start when it is due. Defaults to always.
	Allow func() bool
}

// Hedger starts second runs, and records how long runs take. Safe for concurrent use.
type Hedger struct {
	cfg       Config
	latencies latencies
}

// New returns a Hedger.
func New(cfg Config) *Hedger { return &Hedger{cfg: cfg} }

// Wait returns the time from the start of a first run with that name to the start of the second.
func (h *Hedger) Wait(name string) time.Duration {
	if h.cfg.Percentile == 0 {
		return h.cfg.After
	}
	return max(h.cfg.After, h.latencies.percentile(name))
}

// Record adds the latency of a run. lost says that the other run had its result first.
//
// A first run that lost counts with the time that it had, which is less than it needed, but above the percentile.
// Without it the percentile would be taken of fast runs only, and fall with each second run. A second run that lost had
// just started and doesn't count.
func (h *Hedger) Record(name string, r *Run, latency time.Duration, lost bool) {
	if h.cfg.Percentile > 0 && (!lost || !r.Second) {
		h.latencies.add(name, latency, h.cfg.Percentile)
	}
}

// ErrLost is the cause by which a run's context ends when the other run had its result first.
var ErrLost = errors.New("the other of two requests for the same call had its response first")

// Race is a function that is run once or twice.
type Race[T any] struct {
	// Name names runs that take about the same time.
	Name string
	// Run makes one run. It calls r.Started when its work begins, and r.End when ctx is no longer needed.
	Run func(ctx context.Context, r *Run) T
	// Judge returns what a run's value means for the race.
	Judge func(T) Result
	// Discard takes the values that Do doesn't return, in any goroutine.
	Discard func(T)
}

// Result is what a run's value means for the race.
type Result uint8

// Values of Result.
const (
	Succeeded  Result = iota // the race is over
	Failed                   // the race is over if no other run is under way
	NotStarted               // as Failed, and the value counts less than that of a run that started
)

// Run is one of the runs of a race.
type Run struct {
	Second bool

	started chan<- struct{}
	cancel  context.CancelCauseFunc
}

// Started starts the time after which the second run starts. It is called once at most.
func (r *Run) Started() {
	if r.started != nil {
		close(r.started)
	}
}

// End ends the run's context. Further calls do nothing.
func (r *Run) End() { r.cancel(nil) }

// race is a race under way.
type race[T any] struct {
	Race[T]
	results chan result[T] // has room for all, so that no run waits
	runs    []*Run         // belongs to the goroutine that called Do

	mu   sync.Mutex
	over bool
}

// result is how a run has ended.
type result[T any] struct {
	run      *Run
	value    T
	returned bool
	panicked any // where it did not return; nil: it ended its goroutine
}

// Do runs the function once, or twice if the first run is slow, and returns the value that decides the race. It doesn't
// wait for the other run: that run's context ends with ErrLost, and its value is discarded.
//
// The context of the run whose value is returned goes on until its End. If a run panics before the race is over, Do
// panics.
func Do[T any](ctx context.Context, h *Hedger, r Race[T]) T {
	its := &race[T]{Race: r, results: make(chan result[T], 2)}
	started := make(chan struct{})
	its.start(ctx, &Run{started: started})
	var winner *Run
	defer func() { its.finish(winner) }()
	var slow <-chan time.Time
	var failed *result[T]
	for pending := 1; ; {
		select {
		case <-started:
			started = nil
			timer := time.NewTimer(h.Wait(r.Name))
			defer timer.Stop()
			slow = timer.C
		case <-slow:
			if h.cfg.Allow == nil || h.cfg.Allow() {
				its.start(ctx, &Run{Second: true})
				pending++
			}
		case last := <-its.results:
			if !last.returned {
				raise(last.panicked)
			}
			pending--
			meaning := r.Judge(last.value)
			switch {
			case failed != nil && meaning == NotStarted:
				r.Discard(last.value)
				winner = failed.run
				return failed.value
			case meaning == Succeeded || pending == 0:
				if failed != nil {
					r.Discard(failed.value)
				}
				winner = last.run
				return last.value
			}
			failed = &last
		}
	}
}

// raise ends the goroutine as a run has ended its own.
func raise(panicked any) {
	if panicked == nil {
		runtime.Goexit()
	}
	panic(panicked) //nolint:forbidigo // the run's own
}

// start starts a run in a goroutine of its own.
func (c *race[T]) start(ctx context.Context, r *Run) {
	ctx, r.cancel = context.WithCancelCause(ctx)
	c.runs = append(c.runs, r)
	go func() {
		its := result[T]{run: r}
		defer func() {
			if !its.returned {
				its.panicked = recover()
				r.End()
			}
			c.deliver(its)
		}()
		its.value = c.Run(ctx, r)
		its.returned = true
	}()
}

// deliver hands a result to Do, or discards it if the race is over.
func (c *race[T]) deliver(its result[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.results <- its
		return
	}
	c.discard(its)
}

// finish ends the race: it cancels the runs but the winner, and discards their results, also those that come later.
func (c *race[T]) finish(winner *Run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for _, r := range c.runs {
		if r != winner {
			r.cancel(ErrLost)
		}
	}
	for len(c.results) > 0 {
		c.discard(<-c.results)
	}
}

func (c *race[T]) discard(its result[T]) {
	if its.returned {
		c.Discard(its.value)
	}
}
