package caller

import (
	"cmp"
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
	"github.com/penstock/penstock/caller/internal/breaker"
	"github.com/penstock/penstock/caller/internal/hedge"
	"github.com/penstock/penstock/retry"
)

// Breaker is a circuit breaker for each key and endpoint, in this process alone. It is off unless FailureThreshold is set:
// admission, cooldowns, backoff and a retry budget already bound the calls to a provider in trouble. Use it where failures
// are slow (timeouts) and another pool can serve the calls.
//
// An endpoint is a host and a path in which parts that look like IDs are left out; all calls of Do have one endpoint.
// Transient failures (5xx, broken connections, timeouts) and overload count as failures.
//
// While a circuit is open, calls use other keys. If there is no other key, they fail at once with ErrCircuitOpen.
// Error.RetryAfter is then the time until one call tries the endpoint again. If that call succeeds, the circuit closes.
type Breaker struct {
	// FailureThreshold is the number of failures in a row that opens a circuit. At least 1; 0 switches the breaker off.
	// Defaults to 0.
	FailureThreshold int
	// OpenFor is the time for which a circuit stays open until one call tries again. More than 0. Defaults to 5 s.
	OpenFor time.Duration
}

// DefaultOpenFor is the default of Breaker.OpenFor.
const DefaultOpenFor = 5 * time.Second

// ErrCircuitOpen: the circuit of the call's endpoint is open for every key. Error.RetryAfter is the time until it is tried
// again.
var ErrCircuitOpen = errors.New("the endpoint keeps failing and its circuit is open: retry later or use another pool")

func (b Breaker) check() error {
	if b.FailureThreshold < 0 || b.OpenFor < 0 {
		return fmt.Errorf("Breaker has the FailureThreshold %d and OpenFor %v: use 0 for the defaults, or more", b.FailureThreshold, b.OpenFor)
	}
	return nil
}

// Hedge sends a second request if the response to the first is slow, and takes the response that comes first. It shortens
// the slowest few per cent of the calls and adds as many requests. It is off unless After is set.
//
// Only idempotent calls are hedged. The second request uses another account; if there is none, it isn't sent. It is
// charged as any other, takes a token of the retry budget if there is one, and has the first request's attempt number.
// The slower request is cancelled and its permit is released.
type Hedge struct {
	// After is the least time from sending the first request to the second. Choose the latency that 95 % of the calls stay
	// below. At least 0. Defaults to 0: no hedging.
	After time.Duration
	// Percentile is the share of the recent calls of this process, for the same model and endpoint, that a call must exceed
	// before the second request is sent. It counts from 64 responses on and where it is longer than After. 0.95 hedges one
	// call in twenty, or one in twelve if slow calls are very slow. From 0.5 to less than 1. Defaults to 0: After alone.
	Percentile float64
}

func (h Hedge) check() error {
	if h.After < 0 {
		return fmt.Errorf("Hedge.After is %v: use more than 0, or 0 for no hedging", h.After)
	}
	if p := h.Percentile; p != 0 && !(p >= 0.5 && p < 1) {
		return fmt.Errorf("Hedge.Percentile is %v: use 0.5 to less than 1, such as 0.95, or 0 for After alone", p)
	}
	if h.Percentile != 0 && h.After == 0 {
		return errors.New("Hedge.Percentile is set without After: set After, too, the shortest time to wait")
	}
	return nil
}

type circuits = breaker.Breaker

func newCircuits(b Breaker) *circuits {
	if b.FailureThreshold == 0 {
		return nil
	}
	return breaker.New(breaker.Config{FailureThreshold: b.FailureThreshold, OpenFor: cmp.Or(b.OpenFor, DefaultOpenFor)})
}

// grant waits for admission to a key whose circuit is closed.
func (c *Pool) grant(ctx context.Context, r admission.Request, endpoint string) (*Grant, error) {
	if c.circuits == nil {
		return c.acquire(ctx, r)
	}
	exclude := r.Exclude
	for range c.keys() + 1 {
		open, wait := c.accountsWithOpenCircuit(endpoint)
		if wait > 0 {
			return nil, &Error{Pool: c.plan.Name, RetryAfter: wait, Err: ErrCircuitOpen}
		}
		r.Exclude = append(slices.Clip(exclude), open...)
		g, err := c.acquire(ctx, r)
		if errors.Is(err, errNoOther) && len(open) > 0 {
			break
		}
		if err != nil || c.circuits.Start(breaker.Name{g.Key, endpoint}) {
			return g, err
		}
		g.admission.Decline() // another key of the account may have a closed circuit
		r.Retry = true
	}
	return nil, &Error{Pool: c.plan.Name, RetryAfter: c.circuits.OpenFor() / 10, Err: ErrCircuitOpen}
}

// ungranted says whether a call without a grant is tried again: after ErrCircuitOpen when the endpoint is tried again,
// else not.
func (c *Pool) ungranted(err error) error {
	if e, ok := err.(*Error); ok && e.Err == ErrCircuitOpen { //nolint:errorlint // grant's own
		return retry.After(err, e.RetryAfter)
	}
	return retry.Permanent(err)
}

// accountsWithOpenCircuit returns the accounts of which every key has an open circuit for the endpoint. If these are all
// accounts, it also returns the time until the first circuit is tried again, else 0.
func (c *Pool) accountsWithOpenCircuit(endpoint string) (accounts []string, wait time.Duration) {
	if c.circuits.Quiet() {
		return nil, 0
	}
	all := true
	for _, account := range c.admission.Accounts() {
		least := time.Duration(math.MaxInt64)
		for _, key := range account.Keys {
			least = min(least, c.circuits.Remaining(breaker.Name{key.ID, endpoint}))
		}
		switch {
		case least == 0:
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
	slices.Sort(accounts) // equal demands share an entry of the batch
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

// tripped records the outcome of an attempt in the circuit of its key and endpoint.
func (c *Pool) tripped(g *Grant, endpoint string, o Outcome) {
	if c.circuits == nil || !c.circuits.End(breaker.Name{g.Key, endpoint}, circuitResult(o)) {
		return
	}
	if hook := c.plan.Hooks.CircuitOpened; hook != nil {
		hook(Circuit{Key: g.Key, Endpoint: endpoint, For: c.circuits.OpenFor()})
	}
}

// circuitResult returns what an outcome shows about an endpoint. An endpoint that refuses a call works.
func circuitResult(o Outcome) breaker.Result {
	switch o {
	case Canceled:
		return breaker.Unknown
	case Transient, Overloaded:
		return breaker.Failure
	default:
		return breaker.Success
	}
}

// endpoint returns the host and path of a request, with a star for each part of the path that looks like an ID.
func endpoint(r *http.Request) string {
	parts := strings.Split(r.URL.Path, "/")
	for i, part := range parts {
		if len(part) >= 8 && strings.ContainsAny(part, "0123456789") || strings.Trim(part, "0123456789") == "" && part != "" {
			parts[i] = "*"
		}
	}
	return r.URL.Host + strings.Join(parts, "/")
}

// made is the result of one attempt.
type made[T any] struct {
	value T
	err   error   // says whether to try again
	last  Attempt // Number is 0 if the attempt got no key
}

// course is how one attempt is made.
type course struct {
	ctx     context.Context // the attempt's; a response is read in it
	bounded context.Context // for admission
	number  int
	request admission.Request
	begun   func(*Grant) // called before sending. Optional
	end     func()       // called when the attempt is over and its response read. Optional
}

// latencies holds the hedger of a Pool.
type latencies struct {
	once   sync.Once
	hedger *hedge.Hedger
}

func (l *latencies) of(p *settings) *hedge.Hedger {
	l.once.Do(func() {
		cfg := hedge.Config{After: p.Hedge.After, Percentile: p.Hedge.Percentile}
		if p.Retry.Budget != nil {
			cfg.Allow = p.Retry.Budget.Retry
		}
		l.hedger = hedge.New(cfg)
	})
	return l.hedger
}

// hedged makes an attempt of one request, or of two if the first is slow.
func hedged[T any](c *Pool, opts Options, at course, once func(course) made[T], discard func(T)) made[T] {
	h := c.latencies.of(c.plan)
	name := opts.Model + "\x00" + opts.endpoint
	var first string // account of the first request
	return hedge.Do(at.ctx, h, hedge.Race[made[T]]{
		Name: name,
		Run: func(ctx context.Context, r *hedge.Run) made[T] {
			own := at
			admission, leave := context.WithCancelCause(at.bounded)
			defer leave(nil)
			defer context.AfterFunc(ctx, func() { leave(context.Cause(ctx)) })()
			own.ctx, own.bounded, own.end = ctx, admission, r.End
			if r.Second {
				own.request.Retry, own.request.Affinity, own.request.Exclude = true, "", []string{first}
			} else {
				own.begun = func(g *Grant) {
					first = g.Account
					r.Started()
				}
			}
			m := once(own)
			if m.last.Number == 0 {
				r.End()
			}
			lost := m.last.Verdict.Reason == hedgeLost
			if m.last.Number > 0 && (m.last.Verdict.Outcome == Success || lost) {
				h.Record(name, r, m.last.Latency, lost)
			}
			return m
		},
		Judge: func(m made[T]) hedge.Result {
			switch {
			case m.err == nil:
				return hedge.Succeeded
			case m.last.Number == 0:
				return hedge.NotStarted
			}
			return hedge.Failed
		},
		Discard: func(m made[T]) {
			if m.last.Number > 0 {
				discard(m.value)
				c.attempted(m.last, true)
			}
		},
	})
}
