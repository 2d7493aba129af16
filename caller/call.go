package caller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
	"github.com/penstock/penstock/retry"
)

// Do makes one call of a cost. It waits for admission and runs call with the granted key. While the error of call is worth
// a retry and the retry policy and ctx allow it, Do runs call again, with another key if that may help.
//
// An error's method Verdict() Verdict, if it has one, says what the error means. The pool's Profile judges a *StatusError,
// which CheckResponse returns, too. Other errors of the network are transient, and all others are client errors. An error
// marked by retry.Permanent isn't retried.
//
// call must be idempotent unless Options.Idempotency is IdempotencyNo. It must obey its context and not keep the grant. The
// permit is returned when call returns.
//
// The error of Do is an *Error. Do returns the value of the last attempt beside it.
func Do[T any](ctx context.Context, c *Pool, cost Cost, call func(context.Context, *Grant) (T, error)) (T, error) {
	opts := OptionsFrom(ctx)
	c.plan.identify(&opts)
	opts.hedge = c.plan.Hedge.After > 0 && opts.Idempotency != IdempotencyNo
	if opts.Estimated {
		cost = c.plan.calibrate(&opts, cost)
	}
	send := func(ctx context.Context, g *Grant) (T, Verdict, error) {
		defer g.end()
		value, err := call(ctx, g)
		v := c.judgeError(ctx, err)
		if s, ok := errors.AsType[*StatusError](err); ok {
			c.observe(g, s.response())
		}
		return value, v, guard(v, explained(ctx, err), opts.Idempotency != IdempotencyNo)
	}
	if opts.DedupKey == "" {
		return do(ctx, c, opts, cost, send, func(T) {})
	}
	value, err := together(ctx, &c.flights, opts.DedupKey, func(ctx context.Context) (T, error) {
		return do(ctx, c, opts, cost, send, func(T) {})
	})
	if _, ok := err.(*Error); err != nil && !ok { // its own context ended
		err = &Error{Pool: c.plan.Name, Err: err}
	}
	return value, err
}

// do makes the attempts of a call. send makes one attempt and releases the grant. discard gets the values of attempts that
// another attempt follows.
func do[T any](ctx context.Context, c *Pool, opts Options, cost Cost,
	send func(context.Context, *Grant) (T, Verdict, error), discard func(T),
) (T, error) {
	var zero T
	if err := opts.check(); err != nil {
		return zero, &Error{Pool: c.plan.Name, Err: err}
	}
	units, err := c.plan.units(cost, opts.Model)
	if err != nil {
		return zero, err
	}
	c.stats.call()
	last, sent := Attempt{}, 0
	bounded, cancel := c.plan.bounded(ctx)
	defer cancel()
	value, err := retry.Do(bounded, c.plan.Retry, func(_ context.Context, n int) (T, error) {
		if n > 1 {
			c.attempted(last, true)
		}
		at := course{ctx: ctx, bounded: bounded, number: n, request: admission.Request{
			Units: units, Model: opts.Model, Priority: int(opts.Priority - PriorityLow), Affinity: opts.Affinity, Retry: n > 1,
		}}
		var m made[T]
		if opts.hedge {
			once := func(at course) made[T] { return attempt(ctx, c, opts, at, send) }
			m = hedged(c, opts, at, once, discard)
		} else {
			m = attempt(ctx, c, opts, at, send)
		}
		if last = m.last; last.Number > 0 {
			sent++
		}
		return m.value, m.err
	}, discard)
	c.attempted(last, false)
	c.stats.end(err == nil)
	if err != nil {
		err = c.failure(last, sent, err)
	}
	return value, err
}

// attempt makes one attempt of the call whose own context is ctx.
func attempt[T any](ctx context.Context, c *Pool, opts Options, at course,
	send func(context.Context, *Grant) (T, Verdict, error),
) (m made[T]) {
	g, err := c.grant(at.bounded, at.request, opts.endpoint)
	if err != nil {
		m.err = c.ungranted(err)
		return m
	}
	if at.begun != nil {
		at.begun(g)
	}
	g.IdempotencyKey, g.model, g.prompt = opts.IdempotencyKey, opts.Model, opts.prompt
	begun := time.Now()
	own := g.begin(ctx, at, c.plan.bound(at.bounded, opts))
	value, verdict, err := guarded(own, g, send)
	m.value, m.err = value, hint(verdict, err)
	m.last = Attempt{
		Key: g.Key, Account: g.Account, Number: at.number, Verdict: verdict, Err: err,
		Latency: time.Since(begun), Status: status(value, err),
	}
	c.applyVerdict(g, verdict, m.last.Latency)
	if !errors.Is(err, ErrLeaseLost) { // which isn't the endpoint's failure
		c.tripped(g, opts.endpoint, verdict.Outcome)
	}
	return m
}

// guarded calls send, and returns the permit if send panics.
func guarded[T any](ctx context.Context, g *Grant, send func(context.Context, *Grant) (T, Verdict, error)) (T, Verdict, error) {
	returned := false
	defer func() {
		if !returned {
			g.end()
		}
	}()
	value, verdict, err := send(ctx, g)
	returned = true
	return value, verdict, err
}

// attempted counts an attempt and calls Hooks.Attempted.
func (c *Pool) attempted(a Attempt, retrying bool) {
	if a.Number == 0 {
		return
	}
	c.stats.attempt(a.Verdict)
	if hook := c.plan.Hooks.Attempted; hook != nil {
		a.Retrying = retrying
		hook(a)
	}
}

// failure completes the error of a call of which sent attempts were made.
func (c *Pool) failure(last Attempt, sent int, err error) error {
	out := &Error{
		Pool: c.plan.Name, Key: last.Key, Account: last.Account, RetryAfter: last.Verdict.RetryAfter, Attempts: sent,
		Outcome: last.Verdict.Outcome, Err: err,
	}
	if refusal, ok := lastError(err).(*Error); ok { // of admission
		if sent == 0 {
			return refusal
		}
		out.Metric, out.Limit, out.Cost, out.RetryAfter = refusal.Metric, refusal.Limit, refusal.Cost, refusal.RetryAfter
		out.Err = &cutShortError{refusal.Err, err}
	}
	return out
}

// lastError returns what ended a call, without the marks of package retry.
func lastError(err error) error {
	if r, ok := err.(*retry.Error); ok && r.Attempts > 0 && r.Attempts <= len(r.Errs) {
		err = r.Errs[r.Attempts-1]
	}
	if _, ok := err.(retry.Hinter); ok {
		err = errors.Unwrap(err)
	}
	return err
}

// outcomeError stands for a response that isn't a success.
type outcomeError struct{ verdict Verdict }

func (e *outcomeError) Error() string {
	return fmt.Sprintf("the provider answered: %v (%s)", e.verdict.Outcome, e.verdict.Reason)
}
