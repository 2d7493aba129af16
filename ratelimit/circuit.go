package ratelimit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/scripts"
)

// circuit is a circuit breaker for one node. After circuitFailures failures in a row it is open: calls fail at once,
// except for one probe from time to time.
type circuit struct {
	failures atomic.Int32 // in a row

	mu    sync.Mutex
	probe time.Time // when the next call may probe
	err   error     // of the last failure
}

const (
	circuitFailures = 3                      // in a row, to open the circuit
	circuitFirst    = 100 * time.Millisecond // until the first probe
	circuitLongest  = 2 * time.Second        // between probes
)

// open reports whether calls fail without asking Redis, probes excepted.
func (c *circuit) open() bool { return c.failures.Load() >= circuitFailures }

// refuse returns an error if the circuit is open and no probe is due.
func (c *circuit) refuse() error {
	if !c.open() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Before(c.probe) {
		return fmt.Errorf("%w: %w", ErrUnavailable, c.err)
	}
	c.probe = now.Add(c.pause())
	return nil
}

// pause returns the time until the next probe. Its jitter spreads the probes of many processes.
func (c *circuit) pause() time.Duration {
	d := circuitFirst << min(max(c.failures.Load()-circuitFailures, 0), 5)
	d = min(d, circuitLongest)
	return d/2 + rand.N(d)
}

// circuitChange is the effect of a script call's result on a circuit.
type circuitChange byte

const (
	circuitSame circuitChange = iota
	circuitOpened
	circuitClosed
)

// record updates the circuit with the result of a script call that Redis answered, or failed to answer.
func (c *circuit) record(err error) circuitChange {
	c.mu.Lock()
	defer c.mu.Unlock()
	wasOpen := c.open()
	if answered(err) {
		c.failures.Store(0)
		if wasOpen {
			return circuitClosed
		}
		return circuitSame
	}
	c.err = err
	if c.failures.Add(1) < circuitFailures {
		return circuitSame
	}
	c.probe = time.Now().Add(c.pause())
	if wasOpen {
		return circuitSame
	}
	return circuitOpened
}

// answered reports whether err is nil or a reply of a working Redis.
func answered(err error) bool {
	return err == nil || isTryAgain(err) || scripts.OutcomeOf(err) == scripts.Rejected || errors.Is(err, scripts.ErrLate)
}

// keyFault reports whether Redis refused a script because of one of its keys or arguments. Other keys are not affected.
func keyFault(err error) bool {
	if err == nil || scripts.OutcomeOf(err) != scripts.Rejected {
		return false
	}
	reply, ok := errors.AsType[redis.Error](err)
	if !ok {
		return false
	}
	text := reply.Error()
	switch {
	case strings.Contains(text, "NOPERM"), strings.Contains(text, "No permissions"):
		return strings.Contains(text, "key")
	case strings.Contains(text, "OOM"), strings.Contains(text, "MISCONF"):
		return false
	default:
		return strings.Contains(text, "WRONGTYPE") ||
			strings.HasPrefix(text, "ERR ") && (strings.Contains(text, "user_script") || strings.Contains(text, "running script"))
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
