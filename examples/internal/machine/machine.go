// Package machine measures whether the machine was quiet enough for a test to judge how much of a quota was used. A process
// that doesn't get to run misses its send times.
package machine

import (
	"testing"
	"time"
)

const (
	interval = 5 * time.Millisecond
	// stall is a delay that uses up a good part of Tuning.ArrivalJitter.
	stall = 40 * time.Millisecond
	// tolerated is the share of the time that stalls may take.
	tolerated = 0.01
)

// Watch measures how late this process's timers are, from Start to Busy.
type Watch struct {
	start time.Time
	stop  chan struct{}
	late  chan time.Duration
}

// Start begins to measure, for a test.
func Start(t testing.TB) *Watch {
	w := Begin()
	t.Cleanup(func() {
		if w.stop != nil {
			w.End()
		}
	})
	return w
}

// Begin begins to measure, for a program that calls End.
func Begin() *Watch {
	w := &Watch{start: time.Now(), stop: make(chan struct{}), late: make(chan time.Duration, 1)}
	go w.measure(w.stop)
	return w
}

// End ends the measurement, and returns the share of the time that stalls took, and whether that is too much to judge. It is
// called once at most.
func (w *Watch) End() (share float64, busy bool) {
	close(w.stop)
	w.stop = nil
	late := <-w.late
	share = late.Seconds() / time.Since(w.start).Seconds()
	return share, share > tolerated
}

// Busy ends the measurement, and reports whether the machine was too busy to judge. It is called once at most.
func (w *Watch) Busy(t testing.TB) bool {
	t.Helper()
	share, busy := w.End()
	if busy {
		t.Logf("stalls took %.1f %% of the time, which is too much to judge the utilization", 100*share)
	}
	return busy
}

func (w *Watch) measure(stop <-chan struct{}) {
	tick := time.NewTimer(interval)
	defer tick.Stop()
	var late time.Duration
	for last := time.Now(); ; {
		select {
		case <-stop:
			w.late <- late
			return
		case <-tick.C:
			now := time.Now()
			if over := now.Sub(last) - interval; over > stall {
				late += over
			}
			last = now
			tick.Reset(interval)
		}
	}
}
