package caller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
	"github.com/penstock/penstock/retry"
)

// Do makes one call of the given cost. It waits for admission and runs f with the granted key. If f fails, and another
// attempt can help, it runs f again, with another key if that can help. The retry policy and ctx bound the attempts.
//
// The pool judges an error of f by the first of these that applies:
//
//	the error has a method Verdict() Verdict    that verdict
//	a *StatusError, as from CheckResponse       the Profile's verdict on the response
//	it has an HTTP status from 400 to 599       the Profile's verdict on a response of that status
//	it has a gRPC status                        likewise, by google.rpc.Code
//	a failure of the network                    Transient
//	anything else                               ClientError
//
// An HTTP status is what a method StatusCode() int, HTTPStatusCode() int or HTTPCode() int returns: errors of AWS SDK v2
// (smithy-go), of Google's clients (gax-go), of slack-go and of go-kit have one. A gRPC status is what GRPCStatus() returns;
// a RetryInfo in its details counts as Retry-After. Errors whose status is a field, such as those of openai-go and of Azure's
// SDK, need a Verdict method or CheckResponse on their response.
//
// An error marked by retry.Permanent isn't tried again. f must be safe to repeat, unless Options.Idempotency is
// IdempotencyNo. f must obey its context and must not keep the grant. The permit is released when f returns; if it returns
// an *http.Response, when that response's body has been read to its end or closed, and so long its context goes on.
//
// Do returns the value of the last attempt. Its error is an *Error.
func Do[T any](ctx context.Context, c *Pool, cost Cost, f func(context.Context, *Grant) (T, error)) (T, error) {
	k := &call[T]{pool: c, opts: OptionsFrom(ctx)}
	c.settings.setIdempotencyKey(&k.opts)
	k.hedged = c.hedger != nil && k.opts.Idempotency != IdempotencyNo
	if k.opts.Estimated {
		cost, k.prompt = c.settings.calibrate(k.opts.Model, cost)
	}
	k.send = func(ctx context.Context, g *Grant) (T, Verdict, error) {
		goesOn := false
		defer func() {
			if !goesOn {
				g.finishAttempt()
			}
		}()
		value, err := f(ctx, g)
		v := c.judgeError(ctx, err)
		goesOn = err == nil && holdsPermit(value, g)
		if s, ok := errors.AsType[*StatusError](err); ok {
			c.observe(g, s.response())
		}
		return value, v, noUnsafeRetry(v, withCancelCause(ctx, err), k.opts.Idempotency != IdempotencyNo)
	}
	if k.opts.DedupKey == "" {
		return k.run(ctx, cost)
	}
	charged := cost // a variable that isn't assigned again doesn't go to the heap
	return withDedup(ctx, c, k.opts.DedupKey, func(ctx context.Context) (T, error) { return k.run(ctx, charged) })
}

// holdsPermit lets the body of a response that a function of Do returned end the attempt. It reports whether there is one to
// read.
func holdsPermit(value any, g *Grant) bool {
	res, ok := value.(*http.Response)
	if !ok || res == nil || res.Body == nil || res.Body == http.NoBody || !g.ctx.answered() {
		return false
	}
	res.Body = &heldBody{res.Body, g}
	return true
}

// call is one call of a pool, made by Do or Transport.
type call[T any] struct {
	pool     *Pool
	opts     Options
	prompt   int64  // tokens that the prompt was estimated at; 0: the usage is no sample
	hedged   bool   // a second request may be sent
	endpoint string // of a request, for the circuit breaker and the latencies; empty for Do
	response bool   // the value is a response, whose body is read later
	byLength bool   // the cost is that of the request's length
	// send makes an attempt with a grant, and finishes it at the latest when nothing more is read of its value.
	send func(context.Context, *Grant) (T, Verdict, error)
	// discard takes the values of attempts that are followed by another. Optional.
	discard func(T)

	ctx        context.Context // the call's own, as Hooks.CallStarted returned it
	until      time.Time       // when Timeout ends the call; zero: it doesn't
	refusals   refusals
	kind       string          // what the call asks for, to estimate its duration; empty if it has no deadline of its own
	last       Attempt         // Number is 0 if it got no key
	lastCtx    context.Context // the last attempt's
	sent       int             // attempts that got a key
	took       time.Duration   // the last attempt's admission
	waitedFor  Waits           // the parts of took
	waited     atomic.Int64    // for admission, in ns; counted if Options.MaxWait is set
	neverFits  error           // why a shadow would refuse the call; nil: it may fit
	bodyUsed   atomic.Bool     // an attempt has the request's own body; the next ones need copies
	replayable bool            // the request can be sent more than once
}

// run makes the call, and reports its beginning and end.
func (k *call[T]) run(ctx context.Context, cost Cost) (value T, err error) {
	begun := time.Now()
	k.ctx = k.start(ctx, cost)
	returned := false
	defer func() {
		if !returned { // the function given to Do panics
			err = errPanicked
		}
		k.end(begun, err)
	}()
	value, err = k.retry(k.ctx, cost)
	returned = true
	return value, err
}

// retry makes the call's attempts: Retry( Hedge( Breaker( attempt ))).
func (k *call[T]) retry(ctx context.Context, cost Cost) (T, error) {
	var none T
	c := k.pool
	if err := k.opts.check(); err != nil {
		return none, &Error{Pool: c.settings.Name, Err: &optionsError{err}}
	}
	units, tooSmall, err := k.units(cost)
	if err != nil {
		return none, err
	}
	c.summaries.start(c)
	bounded, cancel, until := c.settings.withTimeout(ctx, &k.opts)
	defer cancel()
	k.until = until
	if c.settings.hasDeadline(ctx, &k.opts) {
		k.kind = k.opts.Model + "\x00" + k.endpoint
	}
	next := k.attempts()
	var discard []func(T)
	if k.discard != nil {
		discard = []func(T){k.discard}
	}
	waits := closingContext{Context: bounded, closing: c.closing}
	defer waits.end()
	value, err := retry.Do(&waits, c.settings.Retry, func(_ context.Context, n int) (T, error) {
		if n > 1 {
			c.attempted(k.lastCtx, k.last, true)
		}
		request := admission.Request{
			Units: units, Model: k.opts.Model, Priority: int(k.opts.Priority - PriorityLow), Affinity: k.opts.Affinity, Retry: n > 1,
			Tenant: k.opts.Tenant, Exclude: tooSmall, Needs: k.needs(),
		}
		r := next(ctx, attemptSpec{
			number: n, endpoint: k.endpoint, bounded: bounded, maxHold: c.settings.MaxHold, response: k.response, request: request,
		})
		k.last, k.lastCtx, k.took, k.waitedFor = r.attempt, r.ctx, r.waited, r.waitedFor
		if k.last.Number > 0 {
			k.sent++
		}
		return r.value, r.err
	}, discard...)
	c.attempted(k.lastCtx, k.last, false)
	if err != nil {
		err = k.failure(err)
	}
	return value, err
}

// units returns what the call takes of each metric, and the accounts whose limits it can never meet. If it meets those of no
// account, that is an error, or the reason for which a shadow would refuse the call.
func (k *call[T]) units(cost Cost) (units []int64, tooSmall []string, err error) {
	s := k.pool.settings
	units, err = s.units(cost, k.opts.Model)
	if err == nil {
		tooSmall, err = s.tooSmall(units, k.opts.Model, k.pool.keyring.accounts())
	}
	if s.Shadow && errors.Is(err, ErrNeverFits) {
		k.neverFits, tooSmall, err = err, nil, nil
	}
	return units, tooSmall, err
}

// needs returns how long such calls took of late; 0: not known.
func (k *call[T]) needs() time.Duration {
	if k.kind == "" {
		return 0
	}
	return k.pool.durations.Of(k.kind, time.Now())
}

// attempts returns Hedge( Breaker( attempt )). A wrapper that isn't configured is left out.
func (k *call[T]) attempts() attemptFunc[T] {
	next := attemptFunc[T](k.attempt)
	if k.pool.circuits != nil {
		next = withBreaker(k.pool.circuits, next)
	}
	if k.hedged {
		next = withHedge(k.pool.hedger, next, func(r attemptResult[T]) {
			if r.attempt.Number > 0 {
				if k.discard != nil {
					k.discard(r.value)
				}
				k.pool.attempted(r.ctx, r.attempt, true)
			}
		})
	}
	return next
}

// failure returns the *Error of a call that failed with err.
func (k *call[T]) failure(err error) error {
	last := &k.last
	out := &Error{
		Pool: k.pool.settings.Name, Key: last.Key, Account: last.Account, RetryAfter: last.Verdict.RetryAfter, Attempts: k.sent,
		Outcome: last.Verdict.Outcome, Err: err,
	}
	if refusal, ok := lastError(err).(*Error); ok { // of admission or the circuit breaker
		if k.sent == 0 {
			return refusal
		}
		out.Metric, out.Limit, out.Cost, out.RetryAfter = refusal.Metric, refusal.Limit, refusal.Cost, refusal.RetryAfter
		out.Err = &cutShortError{refusal.Err, err}
	}
	return out
}

// lastError returns the last attempt's error without the marks of package retry.
func lastError(err error) error {
	if r, ok := err.(*retry.Error); ok && r.Last() != nil {
		err = r.Last()
	}
	for {
		if _, ok := err.(retry.Hinter); !ok {
			return err
		}
		err = errors.Unwrap(err)
	}
}

// outcomeError is the error of an attempt that has a response which isn't a success, and no other error.
type outcomeError struct{ verdict Verdict }

func (e *outcomeError) Error() string {
	return fmt.Sprintf("the provider's response: %v (%s)", e.verdict.Outcome, e.verdict.Reason)
}

// errPanicked is the error of a call whose function panics, for the hooks.
var errPanicked = errors.New("the call's function panicked")

// optionsError is an error about the call's options.
type optionsError struct{ error }

// Is reports whether target is errInvalidOptions.
func (e *optionsError) Is(target error) bool { return target == errInvalidOptions }

// Unwrap returns the error that says what is wrong.
func (e *optionsError) Unwrap() error { return e.error }

var errInvalidOptions = errors.New("the call's options are out of range")
