package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/batch"
	"github.com/penstock/penstock/examples/internal/report"
)

// maxSilence is the number of requests in a row that may fail without an answer before the run ends, for reasons that
// waiting doesn't help: a million requests shouldn't fail one by one.
const maxSilence = 100

// run sends the requests and writes the answers until the last one, until drain is closed, or until going on is of no use:
// no key is left, or the provider is out of reach for longer than -patience.
func (j *job) run(ctx context.Context, drain <-chan struct{}) error {
	going, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-drain:
			stop()
		case <-going.Done():
		}
	}()
	j.outage.stopping = going.Done()
	meter := report.StartMeter(os.Stderr, j.total, j.sample)
	start := time.Now()
	sink := func(r batch.Result[request, *response]) error { return j.write(ctx, r, stop) }
	inputs := requests(j.opts.in, j.in, &j.ids, func() { j.resumed.Add(1) })
	err := batch.Run(ctx, inputs, j.client.do, sink, batch.Options{
		Workers: j.opts.workers, Drain: going.Done(), Progress: &j.progress,
	})
	j.elapsed = time.Since(start)
	meter.Stop()
	if j.hopeless != nil {
		return j.hopeless
	}
	return err
}

// write writes a result to -out or -errors. A request that wasn't sent, or was cut short, is in neither: the next run sends
// it.
func (j *job) write(ctx context.Context, r batch.Result[request, *response], stop context.CancelFunc) error {
	_, answered := errors.AsType[*refusal](r.Err)
	_, broken := errors.AsType[*batch.InputError](r.Err)
	switch {
	case r.Err == nil:
		j.succeeded.Add(1)
		j.silence = 0
		return appendTo(j.out, newAnswer(r.In, r.Out, nil))
	case !answered && !broken && (errors.Is(r.Err, batch.ErrDrained) || ctx.Err() != nil):
		return nil
	case errors.Is(r.Err, errPatience):
		j.giveUp(stop, r.Err)
		return nil
	case errors.Is(r.Err, caller.ErrNoKeys):
		j.giveUp(stop, fmt.Errorf("no key is usable any more: %w", r.Err))
		return nil
	}
	j.failed.Add(1)
	switch {
	case answered:
		j.silence = 0
	case !broken && code(r.Err) == noAnswer:
		if j.silence++; j.silence >= maxSilence {
			j.giveUp(stop, fmt.Errorf("%d requests in a row had no answer, the last one: %w", j.silence, r.Err))
		}
	}
	return appendTo(j.failures, newAnswer(r.In, r.Out, r.Err))
}

// giveUp ends the run as a drain does. The first reason counts.
func (j *job) giveUp(stop context.CancelFunc, why error) {
	if j.hopeless == nil {
		j.hopeless = why
	}
	stop()
}

func appendTo(j *batch.Journal, a *answer) error {
	line, err := a.line()
	if err != nil {
		return err
	}
	return j.Append(line)
}

// redisFailed writes a message, every few seconds at most.
func (j *job) redisFailed(_ context.Context, err error) {
	const seldom = 5 // seconds
	last, now := j.complaint.Load(), time.Now().Unix()
	if now-last >= seldom && j.complaint.CompareAndSwap(last, now) {
		fmt.Fprintf(os.Stderr, "batch: Redis doesn't answer; trying again: %v\n", err)
	}
}

func (j *job) sample() report.Sample {
	s := report.Sample{Skipped: j.resumed.Load(), Failed: j.failed.Load(), Retries: j.tally.Retries(), Note: j.outage.note()}
	s.Done = s.Skipped + s.Failed + j.succeeded.Load()
	return s
}
