package main

import (
	"context"
	"sync"
	"time"

	"github.com/penstock/penstock/examples/internal/recorder"
)

func storm(d *driver, _ planned) { d.recorder.SetMood(recorder.Mood{Kind: recorder.Storm, Share: 1}) }

// calm ends what the recorder does.
func calm(d *driver, _ planned) { d.recorder.SetMood(recorder.Mood{}) }

// failing sets the share of the calls that meet a failure at the provider.
func failing(kind string, rate float64) func(*driver, planned) {
	return func(d *driver, _ planned) { d.provider.tell("failure", map[string]any{"kind": kind, "rate": rate}) }
}

func (d *driver) latency(least, most time.Duration) {
	d.provider.tell("latency", map[string]any{"min": least.String(), "max": most.String()})
}

func slowProvider(d *driver, _ planned) {
	d.latency(3*d.opts.load.LatencyMin, 3*d.opts.load.LatencyMax)
}

func usualProvider(d *driver, _ planned) { d.latency(d.opts.load.LatencyMin, d.opts.load.LatencyMax) }

func lateProvider(d *driver, _ planned) {
	d.recorder.SetMood(recorder.Mood{Kind: recorder.Slow, Share: 1, Delay: 300 * ms})
}

func muteProvider(d *driver, _ planned) {
	d.recorder.SetMood(recorder.Mood{Kind: recorder.Mute, Share: 1})
}

func cutProvider(d *driver, _ planned) {
	d.recorder.SetMood(recorder.Mood{Kind: recorder.Cut, Share: 0.5})
}

// keyOf returns the key that a fault happens to.
func (d *driver) keyOf(p planned) string { return keyIDs(p.pick % d.opts.load.Accounts)[0] }

func (d *driver) accountOf(p planned) string { return account(p.pick % d.opts.load.Accounts) }

func revokeKey(d *driver, p planned) { d.provider.tell("revoke", map[string]any{"key": d.keyOf(p)}) }

func restoreKey(d *driver, p planned) {
	d.provider.tell("restore", map[string]any{"key": d.keyOf(p)})
	d.operate(func(ctx context.Context) error { return d.pool.Enable(ctx, d.keyOf(p)) })
}

func takeCredit(d *driver, p planned) {
	d.provider.tell("out-of-credit", map[string]any{"account": d.accountOf(p)})
}

func topUp(d *driver, p planned) {
	d.provider.tell("top-up", map[string]any{"account": d.accountOf(p)})
	d.operate(func(ctx context.Context) error { return d.pool.EnableAccount(ctx, d.accountOf(p)) })
}

// operate does what an operator does by the pool. It waits, because Redis may be in trouble at the same time.
func (d *driver) operate(f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(d.t.Context(), 20*second)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		if !d.sleep(100*ms) || ctx.Err() != nil {
			d.t.Fatalf("the operator's order: %v", err)
		}
	}
}

// foreignUse lets another client take half of an account until foreignEnd. What the provider refuses it, it asks for
// again, up to half of what a period allows.
func foreignUse(d *driver, p planned) {
	const every = 20 * ms
	ctx, cancel := context.WithCancel(d.t.Context())
	var running sync.WaitGroup
	l := &d.opts.load
	half := float64(l.Requests) / 2
	running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for owed := 0.0; ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			owed = min(owed+half*float64(every)/float64(l.Period), half)
			order := map[string]any{"account": d.accountOf(p), "metric": "requests", "units": int64(owed)}
			if owed >= 1 {
				units, _ := d.provider.try("foreign-use", order) // it asks again
				owed -= units
			}
		}
	})
	d.foreign = func() {
		cancel()
		running.Wait()
	}
	d.t.Cleanup(d.foreign)
}

func foreignEnd(d *driver, _ planned) { d.foreign() }

func stopWorker(d *driver, p planned) {
	w := d.fleet.pick(p.pick)
	d.fleet.notEnded(w)
	if w.early == "" {
		w.child.Stop()
	}
}

func continueWorker(d *driver, p planned) {
	if w := d.fleet.pick(p.pick); w.early == "" {
		w.child.Cont()
	}
}

func killWorker(d *driver, p planned) { d.fleet.kill(d.fleet.pick(p.pick), d.now()) }

func restartWorker(d *driver, p planned) {
	d.fleet.restart(d.fleet.pick(p.pick), d.recorder.Attempts())
}
