package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/penstock/penstock/caller/batch"
)

// errPatience ends a run whose provider was out of reach for longer than -patience.
var errPatience = errors.New("the provider was out of reach for too long")

// maxPause is the longest time between two probes of an outage.
const maxPause = 30 * time.Second

// outage is the state of the provider as all workers see it. While the provider is out of reach, every request waits, except
// one at a time that probes whether it is back.
type outage struct {
	patience time.Duration
	stopping <-chan struct{} // closed when the run is drained
	messages io.Writer

	mu          sync.Mutex
	down        bool
	probing     bool // a probe is in flight
	since, next time.Time
	pause       time.Duration // to the next probe
	reason      string
	lastAnswer  time.Time
	changed     chan struct{} // closed at each change
}

func newOutage(patience time.Duration, messages io.Writer) *outage {
	return &outage{patience: patience, messages: messages, changed: make(chan struct{})}
}

// firstPause is the time from the beginning of an outage to its first probe.
func (o *outage) firstPause() time.Duration {
	return min(max(o.patience/100, 10*time.Millisecond), time.Second)
}

// enter waits until a request may be sent: at once while the provider answers, else as a probe or after the outage.
func (o *outage) enter(ctx context.Context) (probe bool, err error) {
	for {
		o.mu.Lock()
		now := time.Now()
		switch {
		case !o.down:
			o.mu.Unlock()
			return false, nil
		case now.Sub(o.since) >= o.patience:
			o.mu.Unlock()
			return false, fmt.Errorf("%w: %s for %v", errPatience, o.reason, o.patience)
		case !o.probing && !now.Before(o.next):
			o.probing = true
			o.mu.Unlock()
			return true, nil
		}
		wait := o.since.Add(o.patience).Sub(now)
		if !o.probing {
			wait = min(wait, o.next.Sub(now))
		}
		changed := o.changed
		o.mu.Unlock()
		if err := o.sleep(ctx, wait, changed); err != nil {
			return false, err
		}
	}
}

// sleep waits for a time, and ends earlier with the run or at a change.
func (o *outage) sleep(ctx context.Context, wait time.Duration, changed <-chan struct{}) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-o.stopping:
		return batch.ErrDrained
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// answered notes that the provider is there: it gave an answer to a request, or refused it for good.
func (o *outage) answered() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lastAnswer = time.Now()
	if o.down {
		o.down, o.probing = false, false
		fmt.Fprintf(o.messages, "batch: going on after %v\n", o.lastAnswer.Sub(o.since).Round(time.Second))
		o.signal()
	}
}

// failed notes an attempt that began at the given time and found the provider out of reach. It reports whether this is an
// outage: no request was answered since the attempt began.
func (o *outage) failed(began time.Time, probe bool, t *trouble) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	switch {
	case o.down && probe:
		o.pause = min(2*o.pause, maxPause)
		o.probing, o.reason = false, t.reason
	case o.down:
		return true
	case o.lastAnswer.After(began):
		return false
	default:
		o.down, o.since, o.reason, o.pause = true, now, t.reason, o.firstPause()
		fmt.Fprintf(o.messages, "batch: waiting for the provider, for up to %v (-patience): %s\n", o.patience, t.reason)
	}
	o.next = now.Add(max(o.pause, min(t.retryAfter, maxPause)))
	o.signal()
	return true
}

// released ends a probe that has no result, because its request was given up.
func (o *outage) released(probe bool) {
	if !probe {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.probing = false
	o.signal()
}

// lasts returns for how long the provider has been out of reach; 0: it isn't.
func (o *outage) lasts() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.down {
		return 0
	}
	return time.Since(o.since)
}

// note describes an outage for the progress. It is empty while the provider answers.
func (o *outage) note() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.down {
		return ""
	}
	return fmt.Sprintf("waiting since %s: %s", o.since.Format(time.TimeOnly), o.reason)
}

func (o *outage) signal() {
	close(o.changed)
	o.changed = make(chan struct{})
}
