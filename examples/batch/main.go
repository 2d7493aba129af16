// Command batch sends the requests of a file in OpenAI's Batch input format through a pool of API keys, and writes the
// responses in OpenAI's Batch output format.
//
//	go run ./examples/batch -config pool.yaml -in requests.jsonl -out results.jsonl \
//	    [-errors failed.jsonl] [-redis redis://…] [-workers 200] [-timeout 10m] [-patience 30m] [-json]
//
// A -config without a directory that isn't in the current one is that of examples/batch, if it is there.
//
// The program streams the input: its memory doesn't grow with the file, except for 40 bytes a request for the set of
// those that are done. It writes each answer at once. A success is a JSON object without an error in it, of status 200 to 299; it
// goes to -out. Requests that failed go to -errors, in the same format; without any there is no -errors file.
//
// What ends a request, and what doesn't:
//
//	| event | effect |
//	|---|---|
//	| the provider refuses the request (400 and its like) | it goes to -errors |
//	| overload, throttling, a gateway or network without an answer | the run waits for up to -patience, with one probe at a time |
//	| an answer that breaks off, stalls for -timeout, or is none | it is asked again, 5 times in all |
//	| every key is revoked or out of credit | the run ends |
//	| -patience runs out | the run ends |
//
// Started again with the same files, the program continues: what is in -out is done, and so is what the provider refused
// for good in -errors. Everything else is asked again. Remove -errors to ask that again, too. Files of other tools in the
// Batch output format work as -out; failures in them move to -errors, or are asked again.
//
// Several processes with the same -redis and the same pool share its quota; give each its own files. Without -redis the
// quota is this process's alone.
//
// Ctrl-C finishes the calls that have been sent and writes their answers. A second Ctrl-C ends them.
//
// With -json the last line of standard output is one JSON object: the figures of [report.Summary], resumed (requests that
// were done already) and binding (the bottleneck: a limit's metric, concurrency, cooldown, workers or latency).
// Progress and messages go to standard error.
//
// The exit code is 0 if every request has its answer in -out, 1 if some failed, 2 if the run could not start or ended early,
// 130 if Ctrl-C stopped it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/penstock/penstock/caller/batch"
)

// options are the command line.
type options struct {
	config, in, out, errors, redis string
	workers                        int
	timeout, patience              time.Duration
	json                           bool
}

// Exit codes.
const (
	exitAllSucceeded = 0
	exitSomeFailed   = 1
	exitBroken       = 2
	exitInterrupted  = 130 // as shells have it for SIGINT
)

func main() { os.Exit(command(os.Args[1:])) }

func command(args []string) (exitCode int) {
	opts, err := parse(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitAllSucceeded
	}
	if err != nil {
		return exitBroken // parse has printed why
	}
	ctx, drain := interrupts()
	return run(ctx, drain, opts)
}

// run runs the job, prints its figures, and returns the exit code.
func run(ctx context.Context, drain <-chan struct{}, opts options) int {
	job, err := newJob(ctx, opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, "batch:", plain(err))
		return exitBroken
	}
	err = errors.Join(job.run(ctx, drain), job.close())
	s := job.summary()
	if opts.json {
		s.writeJSON(os.Stdout)
	} else {
		s.Write(os.Stdout)
	}
	again := fmt.Sprintf("%d requests are left; run the same command again to continue", s.left())
	switch {
	case errors.Is(err, batch.ErrDrained), errors.Is(err, errCut):
		fmt.Fprintln(os.Stderr, "batch: interrupted;", again)
		return exitInterrupted
	case err != nil:
		fmt.Fprintf(os.Stderr, "batch: %s\nbatch: %s\n", plain(err), again)
		return exitBroken
	case s.Failed+job.refused > 0:
		fmt.Fprintf(os.Stderr, "batch: %d requests failed, %d of them in earlier runs; see %s\n",
			s.Failed+job.refused, job.refused, opts.errors)
		return exitSomeFailed
	}
	return exitAllSucceeded
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("batch", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.config, "config", "", "the pool's `file`, in YAML; see pool.yaml beside this program")
	fs.StringVar(&o.in, "in", "", "`file` of requests, OpenAI Batch JSONL")
	fs.StringVar(&o.out, "out", "", "`file` for the answers; continued if it exists")
	fs.StringVar(&o.errors, "errors", "", "`file` for requests that failed (default: -out with .errors before its extension)")
	fs.StringVar(&o.redis, "redis", "", "`URL` of the Redis that processes share (default: one embedded in this process)")
	fs.IntVar(&o.workers, "workers", 200, "`calls` going at once, those that wait for quota included")
	fs.DurationVar(&o.timeout, "timeout", 10*time.Minute, "longest `time` without a byte of an answer")
	fs.DurationVar(&o.patience, "patience", 30*time.Minute,
		"longest `time` to wait for a provider that is overloaded, throttles or doesn't answer")
	fs.BoolVar(&o.json, "json", false, "print the figures as one line of JSON")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	err := o.check(fs.Args())
	if err != nil {
		fmt.Fprintln(stderr, "batch:", err)
	}
	return o, err
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q; every file has a flag, see -help", rest[0])
	case o.config == "" || o.in == "" || o.out == "":
		return errors.New("-config, -in and -out are required; see -help")
	case o.workers < 1 || o.workers > batch.MaxWorkers:
		return fmt.Errorf("-workers must be from 1 to %d", batch.MaxWorkers)
	case o.timeout <= 0:
		return errors.New("-timeout must be a positive time, such as 90s")
	case o.patience <= 0:
		return errors.New("-patience must be a positive time, such as 30m")
	}
	if o.errors == "" {
		base, found := strings.CutSuffix(o.out, ".jsonl")
		o.errors = base + ".errors"
		if found {
			o.errors += ".jsonl"
		}
	}
	return nil
}

// errCut is the cause of a second Ctrl-C.
var errCut = errors.New("interrupted twice")

// interrupts returns a channel that the first Ctrl-C closes and a context that the second one ends. A third one ends the
// process.
func interrupts() (context.Context, <-chan struct{}) {
	ctx, cancel := context.WithCancelCause(context.Background())
	drain := make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // until the process ends
		<-signals
		fmt.Fprintln(os.Stderr, "\nbatch: finishing the calls that have been sent; Ctrl-C again ends them")
		close(drain)
		<-signals
		signal.Stop(signals)
		cancel(errCut)
	}()
	return ctx, drain
}

// plain drops the package's name, which means nothing to a user of this program.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "batch: ") }
