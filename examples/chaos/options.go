package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// options are the command line.
type options struct {
	kind     string
	all      bool
	soak     time.Duration
	seed     uint64
	duration time.Duration
	workers  int
	callers  int
	servers  string
	redis    string
	load     load
}

// parse reads the flags and checks them.
func parse(args []string, stderr io.Writer) (options, error) {
	o := options{load: defaultLoad}
	fs := flag.NewFlagSet("chaos", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // the caller shows errors
	fs.StringVar(&o.kind, "kind", "", "`kinds` of fault, with commas, each in a run of its own; \"all\" (default: one run that mixes all)")
	fs.BoolVar(&o.all, "all", false, "every kind alone, then 20 mixed runs of twice the duration, with the seed and the next ones")
	fs.DurationVar(&o.soak, "soak", 0, "how long to run with every failure of the provider at 2 % each and two deaths of Redis, at least 10s")
	fs.Uint64Var(&o.seed, "seed", 1, "`number` that decides when which faults happen")
	fs.DurationVar(&o.duration, "duration", 30*time.Second, "how long each run works, at least 6s")
	fs.IntVar(&o.workers, "workers", 4, "`number` of worker processes, 1 to 16")
	fs.IntVar(&o.callers, "callers", 24, "`number` of bulk calls that each worker makes at once, 1 to 1000")
	fs.StringVar(&o.servers, "servers", "single", "`single`, sentinel or cluster")
	fs.StringVar(&o.redis, "redis-server", "", "`path` of another redis-server or valkey-server to run")
	fs.IntVar(&o.load.Accounts, "accounts", o.load.Accounts, "`number` of the provider's accounts, 2 to 20")
	fs.DurationVar(&o.load.SessionTTL, "ttl", o.load.SessionTTL, "SessionTTL of the pool, at least 1s")
	latency := fs.Duration("latency", 0, "mean `duration` of an answer, at least 10ms; long answers keep all permits taken (default 350ms)")
	fs.Usage = func() { usage(fs, stderr) }
	if err := fs.Parse(args); err != nil {
		return o, fmt.Errorf("%w; -h lists the flags", err)
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: use flags only; -h lists them", fs.Arg(0))
	}
	if *latency != 0 {
		o.load.LatencyMin, o.load.LatencyMax = *latency*3/4, *latency*5/4
	}
	if o.soak > 0 {
		o.load = soakLoad(o.load, o.soak)
	}
	return o, o.check()
}

func (o *options) check() error {
	switch {
	case o.all && o.kind != "":
		return errors.New("-all and -kind are both given: use one of them")
	case o.duration < 6*time.Second:
		return fmt.Errorf("-duration is %v: use at least 6s, which has a fault and calm before and after", o.duration)
	case o.workers < 1 || o.workers > 16:
		return fmt.Errorf("-workers is %d: use 1 to 16", o.workers)
	case o.callers < 1 || o.callers > 1000:
		return fmt.Errorf("-callers is %d: use 1 to 1000", o.callers)
	case o.load.Accounts < 2 || o.load.Accounts > 20:
		return fmt.Errorf("-accounts is %d: use 2 to 20", o.load.Accounts)
	case o.load.SessionTTL < time.Second:
		return fmt.Errorf("-ttl is %v: use at least 1s", o.load.SessionTTL)
	case o.load.LatencyMin < 5*time.Millisecond || 2*o.load.LatencyMax > o.load.AttemptTimeout:
		return fmt.Errorf("-latency: use 10ms to %v, less than half of the attempt timeout", o.load.AttemptTimeout*2/5)
	case !slices.Contains([]string{single, sentinel, cluster}, o.servers):
		return fmt.Errorf("-servers is %q: use single, sentinel or cluster", o.servers)
	}
	if o.redis != "" {
		if _, err := exec.LookPath(o.redis); err != nil {
			return fmt.Errorf("-redis-server: %w; give the path of a redis-server or valkey-server", err)
		}
	}
	_, err := o.kinds()
	return errors.Join(err, o.checkSoak())
}

// kinds returns the kinds that -kind names; those that fit -servers where it names none or all.
func (o *options) kinds() ([]*kind, error) {
	var chosen []*kind
	if o.kind == "" || o.kind == "all" {
		for _, k := range kinds {
			if k.fits(o.servers) {
				chosen = append(chosen, k)
			}
		}
		return chosen, nil
	}
	for name := range strings.SplitSeq(o.kind, ",") {
		i := slices.IndexFunc(kinds, func(k *kind) bool { return k.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-kind has %q: use \"all\" or some of %s", name, strings.Join(kindNames(), ", "))
		}
		if !kinds[i].fits(o.servers) {
			return nil, fmt.Errorf("-kind %s doesn't happen to -servers %s: use -servers %s",
				name, o.servers, strings.Join(kinds[i].servers, " or "))
		}
		chosen = append(chosen, kinds[i])
	}
	return chosen, nil
}

// plan is one run.
type plan struct {
	name     string
	seed     uint64
	duration time.Duration
	faults   []planned
}

// mixedRuns is how many runs of -all mix all kinds.
const mixedRuns = 20

// plans returns the runs to make: one that mixes all kinds, one for each kind, or with -all both.
func (o *options) plans() []plan {
	if o.soak > 0 {
		return []plan{o.soakPlan()}
	}
	chosen, _ := o.kinds() // has been checked
	var plans []plan
	if o.kind != "" || o.all {
		for _, k := range chosen {
			plans = append(plans, plan{k.name, o.seed, o.duration, alone(k, o.seed, o.duration, &o.load)})
		}
	}
	count, duration := uint64(0), o.duration
	if o.all {
		count, duration = mixedRuns, 2*o.duration
	} else if o.kind == "" {
		count = 1
	}
	for seed := o.seed; seed < o.seed+count; seed++ {
		plans = append(plans, plan{fmt.Sprintf("mixed, seed %d", seed), seed, duration, mixed(chosen, seed, duration, &o.load)})
	}
	return plans
}

func usage(fs *flag.FlagSet, w io.Writer) {
	fmt.Fprintln(w, "chaos lets faults happen to processes that share a pool of API keys, and judges what came of it.")
	fmt.Fprintln(w, "It prints a table on standard error and one line of JSON for each run on standard output.")
	fmt.Fprintln(w, "Exit code: 0 nothing broke, 1 something broke, 2 a run could not be made.")
	fmt.Fprintln(w, "\nFlags:")
	fs.SetOutput(w)
	fs.PrintDefaults()
	fmt.Fprintln(w, "\nKinds of fault:")
	for _, k := range kinds {
		note := ""
		if len(k.servers) > 0 {
			note = " (-servers " + strings.Join(k.servers, " or ") + ")"
		}
		fmt.Fprintf(w, "  %-15s %s%s\n", k.name, k.what, note)
	}
}
