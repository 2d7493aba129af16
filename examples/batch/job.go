package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/batch"
	"github.com/penstock/penstock/caller/config"
	"github.com/penstock/penstock/examples/internal/report"
	"github.com/penstock/penstock/examples/internal/store"
)

// job is one run over one file.
type job struct {
	opts     options
	pool     *config.Pool
	closers  []func() error
	in       *os.File
	out      *batch.Journal
	failures *batch.Journal
	ids      batch.IDs
	caller   *caller.Pool
	client   *client

	total     int64 // lines of the input
	done      int64 // lines of earlier runs in -out
	refused   int64 // and in -errors
	resumed   atomic.Int64
	succeeded atomic.Int64
	failed    atomic.Int64
	elapsed   time.Duration
	tally     *report.Tally
	progress  batch.Progress
	complaint atomic.Int64 // time of the last message on a failure of Redis, in Unix seconds
	silence   int          // requests in a row without a response
	hopeless  error        // set by the sink: why the run ends early
}

// newJob opens everything that the run needs. It returns the errors of the configuration and the files before anything is
// sent.
func newJob(ctx context.Context, opts options) (_ *job, err error) {
	j := &job{opts: opts}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.close())
		}
	}()
	if j.pool, err = config.Load(opts.config); err != nil {
		return nil, err
	}
	if err := j.openFiles(); err != nil {
		return nil, err
	}
	redis, err := store.Open(ctx, opts.redis)
	if err != nil {
		return nil, err
	}
	j.closers = append(j.closers, func() error { redis.Close(); return nil })
	rdb := redis.Connect()
	j.closers = append(j.closers, rdb.Close)

	j.tally = report.NewTally(j.pool.Caller.Keys)
	j.pool.Caller.Hooks = j.tally.Hooks()
	j.pool.Caller.Hooks.RedisFailed = j.redisFailed
	if j.caller, err = caller.New(rdb, j.pool.Caller); err != nil {
		return nil, fmt.Errorf("%s: %w", opts.config, err)
	}
	j.closers = append(j.closers, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return j.caller.Close(ctx)
	})
	w := newWire(j.pool.Caller, j.tally, opts.workers, opts.timeout)
	j.client = newClient(j.caller, j.pool.BaseURL, w)
	return j, nil
}

// openFiles opens the three files, and reads from them what earlier runs have done.
func (j *job) openFiles() (err error) {
	if j.in, err = os.Open(j.opts.in); err != nil {
		return err
	}
	j.closers = append(j.closers, j.in.Close)
	if err := different(j.opts.in, j.opts.out, j.opts.errors); err != nil {
		return err
	}
	if j.total, err = countLines(j.in); err != nil {
		return err
	}
	if _, err = j.in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if j.out, err = batch.OpenJournal(j.opts.out, learn(&j.ids, &j.done)); err != nil {
		return err
	}
	j.closers = append(j.closers, j.out.Close)
	settled := func(line []byte) bool {
		a, err := readAnswer(line)
		return err != nil || a.settled() // OpenJournal refuses a foreign file
	}
	if err := batch.Filter(j.opts.errors, settled); err != nil {
		return err
	}
	if j.failures, err = batch.OpenJournal(j.opts.errors, learn(&j.ids, &j.refused)); err != nil {
		return err
	}
	j.closers = append(j.closers, j.closeFailures)
	if j.done+j.refused > 0 {
		fmt.Fprintf(os.Stderr, "batch: carrying on; %d requests are done already\n", j.done+j.refused)
	}
	if n := j.out.Mended(); n > 0 {
		fmt.Fprintf(os.Stderr, "batch: the last line of %s was torn; cut off its %d bytes, and will ask again\n", j.opts.out, n)
	}
	return nil
}

// closeFailures closes the errors file. If the file is empty, it removes the file first, while no other process can write
// it.
func (j *job) closeFailures() error {
	if !j.failures.Empty() {
		return j.failures.Close()
	}
	return errors.Join(os.Remove(j.opts.errors), j.failures.Close())
}

// close closes what was opened, last first.
func (j *job) close() error {
	var errs []error
	for _, f := range slices.Backward(j.closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// different returns an error if an output is the input or another output.
func different(in, out, failures string) error {
	same := func(a, b string) bool {
		x, errX := os.Stat(a)
		y, errY := os.Stat(b)
		return filepath.Clean(a) == filepath.Clean(b) || errX == nil && errY == nil && os.SameFile(x, y)
	}
	if same(in, out) || same(in, failures) || same(out, failures) {
		return errors.New("-in, -out and -errors must be three different files")
	}
	return nil
}
