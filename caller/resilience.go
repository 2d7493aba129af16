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

// circuits is the circuit breaker of a pool.
type circuits struct {
	pool     string // the pool's name
	breaker  *breaker.Breaker
	accounts func() []admission.Account
	opened   func(context.Context, Circuit) // the hook; nil: none
}

// newCircuits returns the circuit breaker, or nil if it is off.
func (c *Pool) newCircuits() *circuits {
	b := c.settings.Breaker
	if b.FailureThreshold == 0 {
		return nil
	}
	return &circuits{
		pool:     c.settings.Name,
		breaker:  breaker.New(breaker.Config{FailureThreshold: b.FailureThreshold, OpenFor: cmp.Or(b.OpenFor, DefaultOpenFor)}),
		accounts: func() []admission.Account { return c.admission.Accounts() },
		opened:   c.settings.Hooks.CircuitOpened,
	}
}

// withBreaker makes attempts with keys whose circuit for the endpoint is closed. It excludes the accounts that have no
// such key. If an account has some, the attempt declines other keys of it and is made again.
func withBreaker[T any](c *circuits, next attemptFunc[T]) attemptFunc[T] {
	return func(ctx context.Context, spec attemptSpec) attemptResult[T] {
		excluded, keys := spec.request.Exclude, 0
		for _, account := range c.accounts() {
			keys += len(account.Keys)
		}
		for range keys + 1 {
			open, wait := c.open(spec.endpoint)
			if wait > 0 {
				return refusedByBreaker[T](c, wait)
			}
			its := spec
			its.request.Exclude = append(slices.Clip(excluded), open...)
			its.onGrant = func(g *Grant) bool {
				return c.breaker.Start(breaker.Name{g.Key, spec.endpoint}) && (spec.onGrant == nil || spec.onGrant(g))
			}
			r := next(ctx, its)
			switch {
			case r.err == errDeclined: //nolint:errorlint // the very value
				spec.request.Retry = true
			case errors.Is(r.err, errNoOther) && len(open) > 0:
				return refusedByBreaker[T](c, c.breaker.OpenFor()/10)
			default:
				c.end(r.ctx, spec.endpoint, &r.attempt)
				return r
			}
		}
		return refusedByBreaker[T](c, c.breaker.OpenFor()/10)
	}
}

// refusedByBreaker returns the result of an attempt that no key could be used for. It is made again after the wait.
func refusedByBreaker[T any](c *circuits, wait time.Duration) (r attemptResult[T]) {
	r.err = retry.After(&Error{Pool: c.pool, RetryAfter: wait, Err: ErrCircuitOpen}, wait)
	return r
}

// open returns the accounts of which every key has an open circuit for the endpoint. If these are all accounts, it also
// returns the time until the first circuit is tried again, else 0.
func (c *circuits) open(endpoint string) (accounts []string, wait time.Duration) {
	if c.breaker.Quiet() {
		return nil, 0
	}
	all := true
	for _, account := range c.accounts() {
		least := time.Duration(math.MaxInt64)
		for _, key := range account.Keys {
			least = min(least, c.breaker.Remaining(breaker.Name{admission.WithoutFingerprint(key.ID), endpoint}))
		}
		if least == 0 {
			all = false
			continue
		}
		accounts = append(accounts, account.ID)
		if wait == 0 || least < wait {
			wait = least
		}
	}
	if !all {
		wait = 0
	}
	slices.Sort(accounts) // requests that exclude the same accounts are equal demands
	return accounts, wait
}

// end records the result of an attempt in the circuit of its key and endpoint.
func (c *circuits) end(ctx context.Context, endpoint string, a *Attempt) {
	if a.Number == 0 || !c.breaker.End(breaker.Name{a.Key, endpoint}, circuitResult(a)) || c.opened == nil {
		return
	}
	c.opened(ctx, Circuit{Key: a.Key, Endpoint: endpoint, For: c.breaker.OpenFor()})
}

// circuitResult returns what an attempt shows about its endpoint. An endpoint that refuses a request works.
func circuitResult(a *Attempt) breaker.Result {
	switch o := a.Verdict.Outcome; {
	case o == Canceled, errors.Is(a.Err, ErrLeaseLost):
		return breaker.Unknown
	case o == Transient, o == Overloaded:
		return breaker.Failure
	default:
		return breaker.Success
	}
}

// newHedger returns the hedger, or nil if hedging is off.
func (s *settings) newHedger() *hedge.Hedger {
	if s.Hedge.After == 0 {
		return nil
	}
	cfg := hedge.Config{After: s.Hedge.After, Percentile: s.Hedge.Percentile}
	if s.Retry.Budget != nil {
		cfg.Allow = s.Retry.Budget.Retry
	}
	return hedge.New(cfg)
}

// withHedge makes an attempt of one request, or of two if the first is slow. The second request uses another account.
// discard takes the result that isn't returned, from any goroutine.
func withHedge[T any](h *hedge.Hedger, next attemptFunc[T], discard func(attemptResult[T])) attemptFunc[T] {
	return func(ctx context.Context, spec attemptSpec) attemptResult[T] {
		name := spec.request.Model + "\x00" + spec.endpoint
		var first string // account of the first request
		return hedge.Do(ctx, h, hedge.Race[attemptResult[T]]{
			Name: name,
			Run: func(ctx context.Context, run *hedge.Run) attemptResult[T] {
				its := spec
				bounded, cancel := context.WithCancelCause(spec.bounded)
				defer cancel(nil)
				defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
				its.bounded, its.onEnd = bounded, run.End
				if run.Second {
					its.request.Retry, its.request.Affinity = true, ""
					its.request.Exclude = append(slices.Clone(spec.request.Exclude), first)
				} else {
					its.onGrant = func(g *Grant) bool {
						first = g.Account
						run.Started()
						return true
					}
				}
				r := next(ctx, its)
				record(h, name, run, &r.attempt)
				return r
			},
			Judge:   raceResult[T],
			Discard: discard,
		})
	}
}

// record adds the latency of a request that succeeded or lost the race, and ends a run that sent no request.
func record(h *hedge.Hedger, name string, run *hedge.Run, a *Attempt) {
	lost := a.Verdict.Reason == hedgeLost
	switch {
	case a.Number == 0:
		run.End()
	case a.Verdict.Outcome == Success, lost:
		h.Record(name, run, a.Latency, lost)
	}
}

// raceResult returns what a result means for the race between two requests.
func raceResult[T any](r attemptResult[T]) hedge.Result {
	switch {
	case r.err == nil:
		return hedge.Succeeded
	case r.attempt.Number == 0:
		return hedge.NotStarted
	default:
		return hedge.Failed
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
