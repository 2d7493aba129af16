package main

import (
	"bytes"
	"cmp"
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
	outage    *outage
	complaint atomic.Int64 // time of the last message about Redis, Unix seconds
	silence   int          // requests in a row without a response
	hopeless  error        // set by the sink: why the run ends early
}

// newJob opens what the run needs, and finds what is wrong with it before anything is sent.
func newJob(ctx context.Context, opts options) (_ *job, err error) {
	j := &job{opts: opts, outage: newOutage(opts.patience, os.Stderr)}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.close())
		}
	}()
	if j.pool, err = config.Load(findConfig(opts.config)); err != nil {
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
	j.pool.Caller.Hooks = caller.JoinHooks(j.tally.Hooks(), caller.Hooks{RedisFailed: j.redisFailed, Attempted: attempted})
	if j.caller, err = caller.New(rdb, j.pool.Caller); err != nil {
		return nil, fmt.Errorf("%s: %w", opts.config, err)
	}
	j.closers = append(j.closers, j.closeCaller)
	w := newWire(j.pool.Caller, j.tally, opts.workers, opts.timeout)
	j.client = newClient(j.caller, j.pool, w, j.outage, opts.timeout)
	return j, nil
}

// sampleDir is the directory of the sample configuration in this module.
const sampleDir = "examples/batch"

// findConfig returns the file as it is, or beside this program's source if it has no directory and is there alone.
func findConfig(file string) string {
	sample := filepath.Join(sampleDir, file)
	if _, err := os.Stat(file); err == nil || filepath.Base(file) != file {
		return file
	}
	if _, err := os.Stat(sample); err != nil {
		return file
	}
	fmt.Fprintln(os.Stderr, "batch: the configuration is", sample)
	return sample
}

// closeCaller returns the permits. A failure doesn't concern the run, whose answers are written.
func (j *job) closeCaller() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := j.caller.Close(ctx); err != nil {
		ttl := cmp.Or(j.pool.Caller.Tuning.SessionTTL, caller.DefaultSessionTTL)
		fmt.Fprintf(os.Stderr, "batch: Redis didn't answer at the end, so permits of this process stay taken for up to %v: %v\n", ttl, err)
	}
	return nil
}

// openFiles opens the three files, and reads what earlier runs have done.
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
	moved, err := tidy(j.opts.out, (*answer).succeeded)
	if err != nil {
		return err
	}
	if _, err := tidy(j.opts.errors, (*answer).settled); err != nil {
		return err
	}
	if j.out, err = batch.OpenJournal(j.opts.out, learn(&j.ids, &j.done)); err != nil {
		return err
	}
	j.closers = append(j.closers, j.out.Close)
	if j.failures, err = batch.OpenJournal(j.opts.errors, learn(&j.ids, &j.refused)); err != nil {
		return err
	}
	j.closers = append(j.closers, j.closeFailures)
	if err := j.keepRefused(moved); err != nil {
		return err
	}
	j.reportProgress()
	return nil
}

// tidy leaves the lines in a file of answers that keep wants, and returns the others. A file of another kind is an error,
// and stays as it is.
func tidy(path string, keep func(*answer) bool) (others [][]byte, err error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	file, err := batch.OpenJournal(path, func(line []byte) error {
		a, err := readAnswer(line)
		if err == nil && !keep(a) {
			others = append(others, bytes.Clone(line))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if n := file.Mended(); n > 0 {
		fmt.Fprintf(os.Stderr, "batch: %s had %d bytes of lines that a crash damaged; they are removed and asked again\n", path, n)
	}
	if err := file.Close(); err != nil || others == nil {
		return nil, err
	}
	return others, batch.Filter(path, func(line []byte) bool {
		a, err := readAnswer(line)
		return err != nil || keep(a)
	})
}

// keepRefused moves the failures that another tool wrote into -out to -errors, where they are for good.
func (j *job) keepRefused(lines [][]byte) error {
	for _, line := range lines {
		a, err := readAnswer(line)
		if err != nil || !a.settled() || a.CustomID != nil && j.ids.Known(*a.CustomID) {
			continue
		}
		if err := errors.Join(j.failures.Append(line), learn(&j.ids, &j.refused)(line)); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) reportProgress() {
	if j.done+j.refused > 0 {
		fmt.Fprintf(os.Stderr, "batch: continuing; %d requests are done already\n", j.done+j.refused)
	}
}

// closeFailures closes the errors file. It removes an empty one before it closes it, while no other process can write it.
func (j *job) closeFailures() error {
	if !j.failures.Empty() {
		return j.failures.Close()
	}
	return errors.Join(os.Remove(j.opts.errors), j.failures.Close())
}

// close closes what was opened, in reverse order.
func (j *job) close() error {
	var errs []error
	for _, f := range slices.Backward(j.closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// different checks that no output is the input or the other output.
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
