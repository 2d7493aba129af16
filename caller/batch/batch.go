// Package batch does bulk work over any call: it reads a sequence of inputs, runs a fixed number of calls at a time, and
// passes each result to a sink. Memory doesn't grow with the length of the sequence.
//
//	inputs ──▶ feeder ──▶ workers: call ──▶ sink
//	           (one)      (Options.Workers)  (one at a time)
//
// [Run] is the engine. [Lines] reads JSON lines, [Journal] writes them so that a later run can continue a killed one, and
// [IDs] has the ids that are done. The package doesn't depend on what a call does.
package batch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"
)

// DefaultWorkers is the number of calls at a time unless Options has another.
const DefaultWorkers = 64

// MaxWorkers is the largest number of calls at a time.
const MaxWorkers = 1 << 16

// ErrDrained is the error of a run that Options.Drain stopped before the end of its inputs, and the cause of the contexts of
// the calls that the drain ended.
var ErrDrained = errors.New("batch: drained before the end of the inputs")

// Options are the settings of a run. The zero Options has the defaults.
type Options struct {
	// Workers is the number of calls at a time, waiting ones included. 1 to MaxWorkers. Defaults to DefaultWorkers.
	Workers int
	// Drain stops the run when it is closed: the run takes no further input, ends calls that haven't begun (see [Begin]),
	// and finishes the others. Optional.
	Drain <-chan struct{}
	// Progress counts the run's events. Optional.
	Progress *Progress
	// Hooks observe the run. Optional.
	Hooks Hooks
}

// Result is the result of one input.
type Result[In, Out any] struct {
	In  In
	Out Out
	// Err is the call's error, or an *InputError where the sequence had an error in place of an input. In is then the value
	// beside that error.
	Err error
}

// InputError is an error of the sequence of inputs.
type InputError struct{ Err error }

// Error returns the sequence's own message.
func (e *InputError) Error() string { return e.Err.Error() }

// Unwrap returns the sequence's error.
func (e *InputError) Unwrap() error { return e.Err }

// Run calls call for each input, from Options.Workers goroutines, and sink for each result, from the goroutine of Run alone,
// in the order of the results. An error in the sequence reaches the sink as a Result; the sequence decides whether inputs
// follow.
//
// When ctx ends, the contexts of all calls end, and their results still reach the sink. After an error of the sink the
// contexts end, too, and no result reaches it. Run returns when every call has returned: nil after the last input's result,
// ErrDrained, the cause of ctx, or the sink's error. A sequence that blocks delays this.
func Run[In, Out any](
	ctx context.Context,
	inputs iter.Seq2[In, error],
	call func(ctx context.Context, in In) (Out, error),
	sink func(Result[In, Out]) error,
	opts Options,
) error {
	if opts.Workers == 0 {
		opts.Workers = DefaultWorkers
	}
	if opts.Workers < 1 || opts.Workers > MaxWorkers {
		return fmt.Errorf("batch: Options.Workers is %d; use 1 to %d", opts.Workers, MaxWorkers)
	}
	if opts.Progress == nil {
		opts.Progress = new(Progress)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run[In, Out]{
		call: call, opts: opts,
		jobs: make(chan In), results: make(chan Result[In, Out]),
	}
	var producers sync.WaitGroup
	producers.Go(func() { r.feed(ctx, inputs) })
	for range opts.Workers {
		producers.Go(func() { r.work(ctx) })
	}
	finished := make(chan struct{})
	go func() { defer close(finished); r.abandonOnDrain(ctx) }()
	go func() { producers.Wait(); close(r.results) }()

	var failed error
	var abandoned bool
	for res := range r.results {
		if failed != nil {
			continue
		}
		opts.Progress.ended(res.Err)
		abandoned = abandoned || errors.Is(res.Err, ErrDrained)
		if failed = sink(res); failed != nil {
			cancel(failed)
		}
	}
	cause := context.Cause(ctx)
	cancel(nil)
	<-finished
	switch {
	case failed != nil:
		return failed
	case cause != nil:
		return cause
	case r.drained || abandoned:
		return ErrDrained
	}
	return nil
}

type run[In, Out any] struct {
	call    func(context.Context, In) (Out, error)
	opts    Options
	jobs    chan In
	results chan Result[In, Out]
	begun   admissions
	drained bool // set by feed, read after its end
}

// feed passes the inputs to the workers, and their errors to the sink.
func (r *run[In, Out]) feed(ctx context.Context, inputs iter.Seq2[In, error]) {
	defer close(r.jobs)
	for in, err := range inputs {
		if r.stopping(ctx) {
			r.drained = true
			return
		}
		if err != nil {
			r.opts.Progress.rejected.Add(1)
			if hook := r.opts.Hooks.InputRejected; hook != nil {
				hook(ctx, err)
			}
			r.results <- Result[In, Out]{In: in, Err: &InputError{err}}
			continue
		}
		start := time.Now()
		select {
		case r.jobs <- in:
			r.opts.Progress.blocked.Add(int64(time.Since(start)))
		case <-r.opts.Drain:
			r.drained = true
			return
		case <-ctx.Done():
			return
		}
	}
}

func (r *run[In, Out]) stopping(ctx context.Context) bool {
	select {
	case <-r.opts.Drain:
		return true
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

func (r *run[In, Out]) work(ctx context.Context) {
	for in := range r.jobs {
		r.opts.Progress.taken.Add(1)
		callCtx, done := r.begun.enter(ctx)
		if hook := r.opts.Hooks.CallStarted; hook != nil {
			hook(callCtx)
		}
		begun := time.Now()
		out, err := r.call(callCtx, in)
		if cause := context.Cause(callCtx); err != nil && errors.Is(cause, ErrDrained) && !errors.Is(err, ErrDrained) {
			err = fmt.Errorf("%w: %w", ErrDrained, err)
		}
		if hook := r.opts.Hooks.CallEnded; hook != nil {
			hook(callCtx, CallEnd{Latency: time.Since(begun), Err: err})
		}
		done()
		r.results <- Result[In, Out]{In: in, Out: out, Err: err}
	}
}

func (r *run[In, Out]) abandonOnDrain(ctx context.Context) {
	select {
	case <-r.opts.Drain:
		r.begun.abandon()
	case <-ctx.Done():
	}
}
