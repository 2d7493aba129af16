package main

import (
	"context"
	"crypto/rand"
	"os"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/examples/internal/ledger"
	"github.com/penstock/penstock/examples/internal/recorder"
	"github.com/penstock/penstock/internal/redistest"
)

// driver makes one run. Its methods are for the run's goroutine, and end it where something fails that the run itself
// needs: t.Fatal.
type driver struct {
	t        testing.TB
	opts     options
	origin   time.Time
	servers  *servers
	provider *provider
	recorder *recorder.Recorder
	fleet    *fleet
	pool     *caller.Pool // the operator's: enables keys and inspects
	poolName string
	planned  []planned
	faults   []ledger.Fault
	ended    []bool // of faults
	foreign  func() // ends the other client
}

// result is what a run has shown. Its JSON is what the program prints.
type result struct {
	Run     string         `json:"run"`
	Servers string         `json:"servers"`
	Seed    uint64         `json:"seed"`
	Elapsed float64        `json:"elapsed_s"`
	Faults  map[string]int `json:"faults"` // that happened, by kind
	*ledger.Verdict
	Soak *soak `json:"soak,omitempty"`
}

// perform makes one run.
func perform(ctx context.Context, o options, p plan) (*result, error) {
	o.seed, o.duration = p.seed, p.duration
	if o.redis != "" {
		if err := os.Setenv(redistest.ServerVariable, o.redis); err != nil {
			return nil, err
		}
	}
	var r *result
	err := redistest.Standalone(ctx, p.name, func(t testing.TB) {
		d := &driver{t: t, opts: o, planned: p.faults, poolName: "chaos-" + rand.Text()}
		d.start()
		d.work()
		r = d.judge(p.name)
	})
	return r, err
}

// start starts everything, and returns when all workers are ready.
func (d *driver) start() {
	d.origin = time.Now()
	d.servers = startServers(d.t, d.opts.servers, d.poolName)
	d.provider = startProvider(d.t, &d.opts.load)
	var err error
	d.recorder, err = recorder.Start(recorder.Config{Upstream: d.provider.url, Keys: d.opts.load.secrets(), Origin: d.origin})
	d.check(err)
	d.t.Cleanup(d.recorder.Close)
	rdb := d.servers.operator(d.t)
	d.pool, err = caller.New(rdb, d.opts.load.pool(d.poolName, "operator"))
	d.check(err)
	d.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = d.pool.Close(ctx) // it made no call
	})
	d.fleet = startFleet(d.t, &d.opts, task{
		Redis: d.servers.forWorkers(), Provider: d.recorder.URL(), Pool: d.poolName, Callers: d.opts.callers, Load: d.opts.load,
	})
}

// check ends the run on an error of something that the run itself needs.
func (d *driver) check(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// work lets the faults happen by the schedule, and stops the workers when the time is over.
func (d *driver) work() {
	began := time.Now()
	shift := began.Sub(d.origin) // the ledger's times count from the origin
	d.faults, d.ended = make([]ledger.Fault, len(d.planned)), make([]bool, len(d.planned))
	for _, e := range events(d.planned) {
		if !d.sleepUntil(began.Add(e.at)) {
			d.t.Fatal("interrupted")
		}
		p, f := d.planned[e.fault], &d.faults[e.fault]
		if e.begin {
			*f = ledger.Fault{
				Kind: p.kind.name, Begin: d.now(), LosesState: p.kind.loses, Throttles: p.kind.throttles, Recovers: p.kind.recovers,
			}
			if p.kind.ready != nil {
				p.kind.ready(d)
				f.Begin = d.now()
			}
			p.kind.begin(d, p)
		} else {
			p.kind.end(d, p)
		}
		f.End = d.now()
	}
	if !d.sleepUntil(d.origin.Add(shift + d.opts.duration)) {
		d.t.Fatal("interrupted")
	}
}

// judge stops the workers and asks the ledger.
func (d *driver) judge(name string) *result {
	stop := d.now()
	d.fleet.stop()
	run := &ledger.Run{
		Limits: d.opts.load.limits(), Concurrency: d.opts.load.Concurrency, Faults: d.faults, Stop: stop,
		PermitsLeft: d.permitsLeft(), Attempts: d.recorder.Attempts(),
	}
	d.fleet.collect(run)
	r := &result{
		Run: name, Servers: d.opts.servers, Seed: d.opts.seed, Elapsed: d.now().Seconds(), Faults: map[string]int{},
		Verdict: ledger.Judge(run),
	}
	for _, f := range d.faults {
		r.Faults[f.Kind]++
	}
	if d.opts.soak > 0 {
		d.judgeSoak(r)
	}
	return r
}

// permitsLeft asks the pool how many permits it still counts. Those of a killed process end with its session.
func (d *driver) permitsLeft() int {
	deadline := time.Now().Add(d.opts.load.SessionTTL + 2*time.Second)
	for {
		held := 0
		state, err := d.pool.Inspect(d.t.Context())
		if err == nil {
			for _, s := range state.Sessions {
				for _, n := range s.Held {
					held += n
				}
			}
		}
		late := time.Now().After(deadline)
		switch {
		case err == nil && (held == 0 || late):
			return held
		case late:
			d.t.Fatalf("inspect the pool: %v", err)
		}
		d.sleep(100 * time.Millisecond)
	}
}

// now is the time since the origin.
func (d *driver) now() time.Duration { return time.Since(d.origin) }

func (d *driver) sleep(pause time.Duration) bool { return d.sleepUntil(time.Now().Add(pause)) }

// sleepUntil reports whether the time came before the run was interrupted.
func (d *driver) sleepUntil(at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-d.t.Context().Done():
		return false
	}
}
