// Command chaos lets faults happen to a fleet of processes that share a pool of API keys, and judges what came of it.
//
//	go run ./examples/chaos -kind flushall            one kind of fault, again and again
//	go run ./examples/chaos -kind all -duration 15s   every kind, each in a run of its own
//	go run ./examples/chaos -seed 7 -duration 60s     faults of all kinds, drawn by the seed
//	go run ./examples/chaos -all                      both: every kind for 30 s, and 20 seeds for 60 s; 45 minutes
//	go run ./examples/chaos -soak 30m                 every failure of the provider at 2 % each, and two deaths of Redis
//	go run ./examples/chaos -h                        all flags and kinds
//
// The driver is this process. It starts redis-server (one, or Sentinel's, or a cluster's), the provider, and the workers,
// each as a process of its own; the provider and the workers are this program again. A relay stands between the workers
// and a single Redis, and a recorder between the workers and the provider: both slow down, fall silent, reset and cut.
// The workers do bulk work: calls with IDs, whose answers go to files, and now and then an interactive call. A worker
// that was killed is started again with the same files. While they work, faults begin and end by a schedule that depends
// on the seed alone. When the time is over, the workers finish the calls that they have begun, and a ledger judges: calls
// lost, failed, written twice, torn, or repeated without a reason; what accounts were offered in any window and in
// flight; 429s; permits, goroutines and memory left; workers that ended early; and how long throughput took to be back
// at 90 % after each fault.
//
// Standard output has a line with a JSON object for each run. A table for people goes to standard error, with -all as
// Markdown. The exit code is 0 if nothing broke, 1 if something did, and 2 if a run could not be made. Every run needs
// redis-server.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/redis/go-redis/v9/logging"
)

// Exit codes.
const (
	exitSound  = 0
	exitBroke  = 1
	exitNotRun = 2
)

func main() {
	logging.Disable() // go-redis would log every fault
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitBroke)
		}
		return
	}
	os.Exit(command(os.Args[1:], os.Stdout, os.Stderr))
}

// command makes the runs that the arguments ask for.
func command(args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitSound
	}
	if err != nil {
		fmt.Fprintln(stderr, "chaos:", err)
		return exitNotRun
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	code := exitSound
	lines := json.NewEncoder(stdout)
	var results []*result
	for _, plan := range o.plans() {
		fmt.Fprintf(stderr, "chaos: %s for %v, %d faults\n", plan.name, plan.duration, len(plan.faults))
		r, err := perform(ctx, o, plan)
		if err != nil {
			fmt.Fprintf(stderr, "chaos: %s: the run could not be made: %v\n", plan.name, err)
			code = exitNotRun
			if ctx.Err() != nil {
				break
			}
			continue
		}
		results = append(results, r)
		if len(r.Defects) > 0 {
			code = max(code, exitBroke)
		}
		if err := lines.Encode(r); err != nil {
			fmt.Fprintln(stderr, "chaos:", err)
			return exitNotRun
		}
	}
	write(stderr, results, o.all)
	return code
}
