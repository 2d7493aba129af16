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

// circuit keeps calls away from a Redis that doesn't answer. After some failures in a row it opens: calls are answered
// without Redis at once, but for one now and then that tries. Its shard's lock guards it.
type circuit struct {
	failures int
	probe    time.Time // when the next call may try
	err      error     // of the last failure
}

const (
	circuitFailures = 3                      // in a row, to open
	circuitFirst    = 100 * time.Millisecond // until the first try
	circuitLongest  = 2 * time.Second        // between tries
)

// open reports whether calls are kept away from Redis, but for those that try.
func (c *circuit) open() bool { return c.failures >= circuitFailures }

// refuse returns an error if the circuit is open and a call isn't to try now.
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

// pause is how long until the next try, with jitter, so that processes don't come back all at once.
func (c *circuit) pause() time.Duration {
	d := circuitFirst << min(c.failures-circuitFailures, 5)
	d = min(d, circuitLongest)
	return d/2 + rand.N(d)
}

// note takes in how a script call ended. One that its caller gave up says nothing about Redis.
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

// passing reports whether the script was not run for a reason that passes soon, and a call may try again.
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

// singleKeyFor is how long calls on different keys don't share a script call after one that found its keys on two nodes:
// while a slot moves, scripts on a single key work, and others may not.
const singleKeyFor = time.Second

// tryAgain reports whether Redis refused a script because its keys are on two nodes just now.
func isTryAgain(err error) bool {
	return err != nil && redis.HasErrorPrefix(errors.Unwrap(err), "TRYAGAIN")
}

const (
	tries     = 8 // of a call, when Redis says that it can't run scripts just now
	tryFirst  = 4 * time.Millisecond
	tryLatest = 500 * time.Millisecond
)

// tryPause is how long to wait before try number n, from 1.
func tryPause(n int) time.Duration {
	d := min(tryFirst<<n, tryLatest)
	return d/2 + rand.N(d)
}
