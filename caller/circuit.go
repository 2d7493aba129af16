package caller

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
	"github.com/penstock/penstock/retry"
)

// Breaker keeps calls of this process from a key and endpoint that fail again and again, as a circuit breaker. It is off
// unless Failures is set: admission, cooldowns, backoff and a retry budget bound what a provider in trouble is sent,
// and one process's view of it is a guess. Use it where failures are slow (timeouts), and fail over elsewhere.
//
// An endpoint is a host and a path without what looks like an ID; all calls of Do are one. Transient failures count (5xx,
// broken connections, timeouts) and overload. While the circuit is open, calls go to other keys; where there is none,
// they fail at once with ErrCircuitOpen as a transient failure, whose RetryAfter is when one call will try again. If that
// succeeds, the circuit is closed.
type Breaker struct {
	// Failures is how many in a row open the circuit. Defaults to 0: never.
	FailureThreshold int
	// OpenFor is how long it stays open until one call tries again. Defaults to 5 s.
	OpenFor time.Duration
}

// DefaultOpenFor is the default of Breaker.OpenFor.
const DefaultOpenFor = 5 * time.Second

// ErrCircuitOpen is that the endpoint failed for every key too often. Error.RetryAfter says when it is tried again.
var ErrCircuitOpen = errors.New("the endpoint fails again and again: it is left alone for a while")

func (b Breaker) check() error {
	if b.FailureThreshold < 0 || b.OpenFor < 0 {
		return fmt.Errorf("Breaker has %d Failures and OpenFor %v: use 0 for the defaults, or more", b.FailureThreshold, b.OpenFor)
	}
	return nil
}

// circuits are the circuits of a process. Only those that aren't as new are kept. It is our own rather than
// sony/gobreaker because that doesn't tell when an open circuit will be tried again (its pull request 52), which is what
// a call has to wait for, and drops the outcome of a trial that ends in another state than it began (its issue 122).
type circuits struct {
	Breaker
	mu     sync.Mutex
	failed map[circuitName]*circuit
}

type circuitName struct{ key, endpoint string }

type circuit struct {
	failures int
	until    time.Time // it is open until then; zero: it is closed
	trial    bool      // it was open, and one call tries; if nothing is heard of it, another one does after until
}

func newCircuits(b Breaker) *circuits {
	if b.FailureThreshold == 0 {
		return nil
	}
	if b.OpenFor == 0 {
		b.OpenFor = DefaultOpenFor
	}
	return &circuits{Breaker: b, failed: map[circuitName]*circuit{}}
}

// quiet reports that nothing has failed of late.
func (c *circuits) quiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.failed) == 0
}

// wait returns how long the circuit will be open; 0 if a call may pass.
func (c *circuits) wait(name circuitName) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left(name)
}

func (c *circuits) left(name circuitName) time.Duration {
	its := c.failed[name]
	if its == nil || its.until.IsZero() {
		return 0
	}
	return max(time.Until(its.until), 0)
}

// enter lets a call pass, the only one for now if it is a trial, or says no.
func (c *circuits) enter(name circuitName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left(name) > 0 {
		return false
	}
	if its := c.failed[name]; its != nil && !its.until.IsZero() {
		its.trial, its.until = true, time.Now().Add(c.OpenFor)
	}
	return true
}

// leave takes in how a call that passed has ended, and reports whether it opened the circuit.
func (c *circuits) leave(name circuitName, o Outcome) (opened bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	its := c.failed[name]
	switch o {
	case Canceled: // that says nothing
		if its != nil && its.trial {
			its.trial, its.until = false, time.Now()
		}
	case Transient, Overloaded:
		if its == nil {
			its = &circuit{}
			c.failed[name] = its
		}
		its.failures++
		if its.trial || its.until.IsZero() && its.failures >= c.FailureThreshold {
			its.until, its.trial = time.Now().Add(c.OpenFor), false
			return true
		}
	default:
		delete(c.failed, name)
	}
	return false
}

// grant waits for admission to a key whose circuit is closed.
func (c *Pool) grant(ctx context.Context, r admission.Request, endpoint string) (*Grant, error) {
	if c.circuits == nil {
		return c.acquire(ctx, r)
	}
	except := r.Exclude
	for range c.keys() + 1 {
		open, wait := c.open(endpoint)
		if wait > 0 {
			return nil, &Error{Pool: c.plan.Name, RetryAfter: wait, Err: ErrCircuitOpen}
		}
		r.Exclude = append(slices.Clip(except), open...)
		g, err := c.acquire(ctx, r)
		if errors.Is(err, errNoOther) && len(open) > 0 {
			break
		}
		if err != nil || c.circuits.enter(circuitName{g.Key, endpoint}) {
			return g, err
		}
		g.admission.Decline() // another of the account's keys may do
		r.Retry = true
	}
	return nil, &Error{Pool: c.plan.Name, RetryAfter: c.circuits.OpenFor / 10, Err: ErrCircuitOpen}
}

// ungranted says whether to try again after a refusal: of admission never, of the circuit breaker when one call will.
func (c *Pool) ungranted(err error) error {
	if e, ok := err.(*Error); ok && e.Err == ErrCircuitOpen { //nolint:errorlint // grant's own
		return retry.After(err, e.RetryAfter)
	}
	return retry.Permanent(err)
}

// open returns the accounts none of whose keys may be used for an endpoint, and how long that goes for all of them: 0 if
// there is an account that may be used.
func (c *Pool) open(endpoint string) (accounts []string, wait time.Duration) {
	if c.circuits.quiet() {
		return nil, 0
	}
	all := true
	for _, account := range c.admission.Accounts() {
		least := time.Duration(math.MaxInt64)
		for _, key := range account.Keys {
			least = min(least, c.circuits.wait(circuitName{key.ID, endpoint}))
		}
		switch least {
		case 0:
			all = false
		default:
			accounts = append(accounts, account.ID)
			if wait == 0 || least < wait {
				wait = least
			}
		}
	}
	if !all {
		wait = 0
	}
	slices.Sort(accounts) // so that calls are alike
	return accounts, wait
}

// keys returns the number of keys.
func (c *Pool) keys() int {
	n := 0
	for _, account := range c.admission.Accounts() {
		n += len(account.Keys)
	}
	return n
}

// tripped takes in how an attempt has ended.
func (c *Pool) tripped(g *Grant, endpoint string, o Outcome) {
	if c.circuits == nil || !c.circuits.leave(circuitName{g.Key, endpoint}, o) {
		return
	}
	if hook := c.plan.Hooks.CircuitOpened; hook != nil {
		hook(Circuit{Key: g.Key, Endpoint: endpoint, For: c.circuits.OpenFor})
	}
}

// endpoint returns the host and path of a request, without what looks like an ID in it.
func endpoint(r *http.Request) string {
	parts := strings.Split(r.URL.Path, "/")
	for i, part := range parts {
		if len(part) >= 8 && strings.ContainsAny(part, "0123456789") || strings.Trim(part, "0123456789") == "" && part != "" {
			parts[i] = "*"
		}
	}
	return r.URL.Host + strings.Join(parts, "/")
}
