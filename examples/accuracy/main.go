// Command accuracy measures how exactly a fleet of processes uses what a provider allows.
//
//	go run ./examples/accuracy [-redis redis://…] [-scenario steady|faults|all] [-redis_rate] [-json]
//
// It starts a simulated provider that enforces its limits strictly, and real processes that share a pool of ten keys in
// six accounts, limited in requests, tokens and calls in flight. In each process many callers make calls of PriorityLow as
// fast as they can. Calls of PriorityNormal and PriorityHigh come from time to time.
//
//   - steady: limits per 10 seconds, and no failures.
//   - faults: limits per second; 2 % of the responses are 503, 1 % never come, another client uses half of one account,
//     and after a third of the time a key is revoked and an account runs out of credit.
//
// With -redis_rate each scenario also runs by the common recipe, for comparison: keys in turn, redis_rate for each limit,
// and a sleep for its RetryAfter.
//
// The processes share an embedded Redis, or that of -redis. With -json the program prints the figures as lines of JSON. The
// exit code is 0 unless Penstock lost a call or made one twice.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/penstock/penstock/examples/internal/store"
)

func main() {
	if os.Getenv(childVariable) != "" {
		if err := serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "accuracy:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.redis, "redis", "", "`URL` of a Redis to use (default: an embedded one)")
	flag.StringVar(&o.scenario, "scenario", "all", "steady, faults or all")
	flag.IntVar(&o.processes, "processes", 8, "how many processes")
	flag.IntVar(&o.callers, "callers", 64, "how many callers in each process")
	flag.DurationVar(&o.duration, "duration", 30*time.Second, "of each scenario")
	flag.BoolVar(&o.redisRate, "redis_rate", false, "run the common recipe, too")
	flag.BoolVar(&o.json, "json", false, "print the figures as lines of JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := measure(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "accuracy:", err)
		os.Exit(1)
	}
}

type options struct {
	redis, scenario    string
	processes, callers int
	duration           time.Duration
	redisRate, json    bool
}

// tasks returns the runs that the options ask for.
func (o *options) tasks() ([]task, error) {
	switch {
	case o.processes < 1 || o.callers < 1:
		return nil, fmt.Errorf("-processes is %d and -callers %d: use at least 1 of both", o.processes, o.callers)
	case o.duration < time.Second:
		return nil, fmt.Errorf("-duration is %v: use at least 1s", o.duration)
	}
	list, err := chosen(o.scenario)
	if err != nil {
		return nil, err
	}
	var tasks []task
	for _, s := range list {
		t := task{Scenario: s, Processes: o.processes, Callers: o.callers}
		tasks = append(tasks, t)
		if o.redisRate {
			t.RedisRate = true
			tasks = append(tasks, t)
		}
	}
	return tasks, nil
}

func measure(ctx context.Context, o options) error {
	tasks, err := o.tasks()
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, o.redis)
	if err != nil {
		return err
	}
	defer db.Close()
	var runs []*figures
	var errs []error
	for _, t := range tasks {
		t.Redis = db.URL()
		fmt.Fprintf(os.Stderr, "%s: %d processes with %d callers each, for %v\n", t.title(), t.Processes, t.Callers, o.duration)
		f, err := run(ctx, t, o.duration)
		if err != nil {
			return err
		}
		runs = append(runs, f)
		if f.ours && f.Lost+f.Doubled > 0 {
			errs = append(errs, fmt.Errorf("%s: %d calls were lost, %d made twice; the first error: %s", f.Run, f.Lost, f.Doubled, f.Error))
		}
	}
	if !o.json {
		write(os.Stdout, runs)
		return errors.Join(errs...)
	}
	for _, f := range runs {
		errs = append(errs, json.NewEncoder(os.Stdout).Encode(f))
	}
	return errors.Join(errs...)
}
