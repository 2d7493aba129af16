package caller_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// These tests don't run beside others, because load delays their requests beyond ArrivalJitter.

// roomy allows for the delays of a busy machine.
func roomy(c *caller.Config) { c.Tuning.ArrivalJitter = 400 * time.Millisecond }

// Replicas that never lack calls exceed no limit, lose no call, and each get a part. examples/accuracy measures how much of
// the quota they use.
func TestFleet_KeepsTheLimitUnderLoad(t *testing.T) {
	p := provider(3, []apisim.Limit{{Metric: apisim.Requests, Limit: 200, Per: 2 * time.Second}}, 0)
	p.Failures.Overloaded = 0.02
	p.Latency = apisim.Latency{Min: 5 * time.Millisecond, Max: 60 * time.Millisecond}
	f := start(t, redistest.Client(t), p, 3, roomy)
	var sent [3]int64 // by replica, while all have calls
	done := make(chan struct{})
	go func() {
		defer close(done)
		enough := func() bool {
			total := int64(0)
			for r := range sent {
				sent[r] = f.sent[r].Load()
				total += sent[r]
			}
			return total >= 700 // more than the limits allow in one period
		}
		for end := time.Now().Add(testkit.Patience); !enough() && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		}
	}()
	f.runUntil(t, done, 100)
	t.Logf("calls by replica: %v, utilization %.3f", sent, f.check(t).Utilization(apisim.Requests))
	for r, n := range sent {
		if n == 0 {
			t.Errorf("replica %d: got no call of %v, want a part", r, sent)
		}
	}
}

// Several limits and a concurrency limit hold together.
func TestFleet_KeepsAllLimitsTogether(t *testing.T) {
	p := provider(2, []apisim.Limit{
		{Metric: apisim.Requests, Limit: 100, Per: time.Second},
		{Metric: apisim.Tokens, Limit: 1500, Per: time.Second},
	}, 6)
	p.Latency = apisim.Latency{Min: 5 * time.Millisecond, Max: 80 * time.Millisecond}
	f := start(t, redistest.Client(t), p, 3, roomy)
	f.run(t, 60, 30)
	for _, a := range f.check(t).Accounts {
		if a.MostInFlight > 6 || a.MostInFlight < 2 {
			t.Errorf("%s: got %d calls in flight, want 2 to 6", a.ID, a.MostInFlight)
		}
	}
}

// Short calls on few permits use the concurrency limit and never exceed it.
func TestFleet_KeepsTheConcurrency(t *testing.T) {
	p := provider(2, nil, 3)
	p.Latency = apisim.Latency{Max: 4 * time.Millisecond}
	f := start(t, redistest.Client(t), p, 3)
	f.run(t, 100, 20)
	for _, a := range f.check(t).Accounts {
		if a.MostInFlight != 3 {
			t.Errorf("%s: got %d calls in flight at most, want 3", a.ID, a.MostInFlight)
		}
	}
}

// check fails the test if a limit was exceeded or a request was sent twice, and returns the provider's ledger.
func (f *fleet) check(t *testing.T) apisim.Ledger {
	t.Helper()
	l := f.sim.Ledger()
	if l.Throttled() != 0 || l.UnexplainedTwice != 0 || l.UnknownKeys != 0 {
		t.Errorf("got %d requests throttled, %d served twice without a reason, %d with unknown keys, want none", l.Throttled(), l.UnexplainedTwice, l.UnknownKeys)
	}
	for _, a := range l.Accounts {
		for _, limit := range a.Limits {
			if limit.Peak > limit.Limit {
				t.Errorf("%s: got %d %s in a window, want at most %d", a.ID, limit.Peak, limit.Metric, limit.Limit)
			}
		}
	}
	return l
}

// runUntil makes calls from each replica with the given number of workers until done is closed.
func (f *fleet) runUntil(t *testing.T, done <-chan struct{}, workers int) {
	t.Helper()
	var wg sync.WaitGroup
	for r := range f.callers {
		for w := range workers {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-done:
						return
					default:
					}
					if err := f.post(t.Context(), r, fmt.Sprintf("call-%d-%d-%d", r, w, i)); err != nil {
						t.Errorf("replica %d: got %v, want success", r, err)
					}
				}
			})
		}
	}
	wg.Wait()
}
