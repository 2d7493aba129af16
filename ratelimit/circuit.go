package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/scripts"
)

// circuit is a circuit breaker for one shard. After circuitFailures failures in a row it is open: calls fail at once,
// except for one probe from time to time. The shard's lock guards it.
type circuit struct {
	failures int
	probe    time.Time // when the next call may probe
	err      error     // of the last failure
}

const (
	circuitFailures = 3                      // in a row, to open the circuit
	circuitFirst    = 100 * time.Millisecond // until the first probe
	circuitLongest  = 2 * time.Second        // between probes
)

// open reports whether calls fail without asking Redis, probes excepted.
func (c *circuit) open() bool { return c.failures >= circuitFailures }

// refuse returns an error if the circuit is open and no probe is due.
func (c *circuit) refuse() error {
	if !c.open() {
		return nil
	}
	now := time.Now()
	if now.Before(c.probe) {
		return fmt.Errorf("%w: %w", ErrUnavailable, c.err)
	}
	c.probe = now.Add(c.pause())
	return nil
}

// pause returns the time until the next probe. Its jitter spreads the probes of many processes.
func (c *circuit) pause() time.Duration {
	d := circuitFirst << min(c.failures-circuitFailures, 5)
	d = min(d, circuitLongest)
	return d/2 + rand.N(d)
}

// record updates the circuit with the result of a script call. A call that its caller gave up says nothing about Redis.
func (c *circuit) record(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	if err == nil || isTryAgain(err) || scripts.OutcomeOf(err) == scripts.Rejected || errors.Is(err, scripts.ErrLate) {
		c.failures = 0
		return
	}
	c.failures++
	c.err = err
	if c.failures >= circuitFailures {
		c.probe = time.Now().Add(c.pause())
	}
}

// transient reports whether the script did not run for a reason that passes soon, so that a call may be retried.
func transient(err error) bool {
	if scripts.OutcomeOf(err) != scripts.NotRun {
		return false
	}
	for _, p := range []string{"LOADING", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "BUSY", "MOVED", "ASK"} {
		if redis.HasErrorPrefix(errors.Unwrap(err), p) {
			return true
		}
	}
	return false
}

// singleKeyFor is how long calls on different keys don't share a script call after one that found its keys on two
// nodes. While a slot moves, only scripts on a single key are certain to work.
const singleKeyFor = time.Second

// isTryAgain reports whether Redis refused a script because its keys are on two nodes at the moment.
func isTryAgain(err error) bool {
	return err != nil && redis.HasErrorPrefix(errors.Unwrap(err), "TRYAGAIN")
}

const (
	tries     = 8 // of a call, while Redis temporarily can't run scripts
	tryFirst  = 4 * time.Millisecond
	tryLatest = 500 * time.Millisecond
)

// tryPause returns the wait before try n, which counts from 1.
func tryPause(n int) time.Duration {
	d := min(tryFirst<<n, tryLatest)
	return d/2 + rand.N(d)
}
