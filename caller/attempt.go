package caller

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
	"github.com/penstock/penstock/retry"
)

// attemptFunc makes one attempt of a call. ctx ends with the call, or earlier if the attempt is no longer needed; the
// attempt's value is read in it.
type attemptFunc[T any] func(ctx context.Context, spec attemptSpec) attemptResult[T]

// attemptSpec says how an attempt is made.
type attemptSpec struct {
	number   int    // from 1
	endpoint string // of a request, without what looks like an ID; empty for Do
	// bounded bounds the attempt until its value is there. It ends with ctx or the call's Timeout.
	bounded context.Context
	request admission.Request
	// maxHold bounds the attempt from sending until its end. 0: no bound.
	maxHold time.Duration
	// response says that the attempt goes on with a response's body, which the pool may end.
	response bool
	// onGrant is called when the attempt has a grant, before anything is sent. If it returns false, the attempt declines the
	// grant and its result is errDeclined. Optional.
	onGrant func(*Grant) bool
	// onEnd is called when the attempt has ended and its value has been read. Optional.
	onEnd func()
}

// attemptResult is the result of an attempt.
type attemptResult[T any] struct {
	value   T
	err     error           // with the hint whether the call is tried again
	attempt Attempt         // Number is 0 if it got no key
	ctx     context.Context // the attempt's, for the hooks; nil: it got no key

	waited    time.Duration // for admission
	waitedFor Waits
}

// maxDeclined is the number of grants of keys that refused a call which the call declines to get another key.
const maxDeclined = 8

// errDeclined: the attempt declined its grant and sent nothing.
var errDeclined = errors.New("the grant was declined")

// attempt makes one attempt: it acquires a grant, sends, judges the result, and reports what that says about the key.
func (k *call[T]) attempt(ctx context.Context, spec attemptSpec) (r attemptResult[T]) {
	g, err := k.acquire(spec)
	if err != nil {
		r.waited, r.waitedFor = k.pool.waited(g)
		r.err = err
		return r
	}
	if spec.onGrant != nil && !spec.onGrant(g) {
		g.admission.Decline()
		r.err = errDeclined
		return r
	}
	g.IdempotencyKey, g.prompt, g.byLength = k.opts.IdempotencyKey, k.prompt, k.byLength
	g.setModel(k.opts.Model)
	c := k.pool
	if c.shadow != nil {
		k.follow(ctx, g, spec)
	} else {
		c.admitted(ctx, g, &k.opts, spec.number)
	}
	if hook := c.settings.Hooks.AttemptStarted; hook != nil {
		ctx = hook(ctx, AttemptStart{Key: g.Key, Account: g.Account, Model: k.opts.Model, Number: spec.number})
	}
	begun := time.Now()
	g.begun = begun
	own := g.startAttempt(ctx, k.ctx, spec, k.attemptTimeout())
	value, verdict, err := k.releaseOnPanic(own, g)
	latency := time.Since(begun)
	verdict, elsewhere := k.applyVerdict(g, verdict, latency)
	r.ctx = own
	r.value, r.err = value, k.pool.retryHint(verdict, err, elsewhere)
	if verdict.Outcome == Overloaded && status(value, err) == http.StatusTooManyRequests {
		r.err = retry.Uncounted(r.err) // a 429 has no effect, whatever its reason
	}
	r.attempt = Attempt{
		Key: g.Key, Account: g.Account, Model: k.opts.Model, Priority: k.opts.Priority, Number: spec.number, Verdict: verdict, Err: err,
		Latency: latency, Status: status(value, err), Method: g.method, Host: g.host,
	}
	k.recordDuration(g, spec, verdict, begun)
	return r
}

// acquire returns a grant of an account and key that haven't refused the call. Its error has a hint.
func (k *call[T]) acquire(spec attemptSpec) (*Grant, error) {
	c := k.pool
	r := &k.refusals
	r.mu.Lock()
	refused := r.accounts
	r.mu.Unlock()
	if len(refused) > 0 {
		spec.request.Exclude = slices.Concat(spec.request.Exclude, refused)
	}
	spec.request.Exclude, _ = c.missing.exclude(spec.request.Model, c.admission.Accounts, spec.request.Exclude, time.Now())
	for tries := 0; ; tries++ {
		g, err := k.acquireInTime(spec.bounded, spec.request)
		if err != nil {
			return g, retry.Permanent(err)
		}
		r.mu.Lock()
		again := slices.ContainsFunc(r.keys, func(k keyName) bool { return k.name == g.admission.Key() })
		r.mu.Unlock()
		if !again || tries >= maxDeclined {
			return g, nil
		}
		g.admission.Decline()
		spec.request.Retry = true
	}
}

// acquireInTime waits for admission, for what is left of Options.MaxWait.
func (k *call[T]) acquireInTime(ctx context.Context, r admission.Request) (*Grant, error) {
	if k.opts.MaxWait == 0 {
		return k.pool.acquire(ctx, r)
	}
	begun := time.Now()
	waiting, cancel := context.WithTimeout(ctx, max(k.opts.MaxWait-time.Duration(k.waited.Load()), 1))
	defer cancel()
	g, err := k.pool.acquire(waiting, r)
	k.waited.Add(int64(time.Since(begun)))
	if err != nil && ctx.Err() == nil && waiting.Err() != nil {
		err = &Error{Pool: k.pool.settings.Name, Err: ErrDeadline}
	}
	return g, err
}

// recordDuration records how long an attempt took that succeeded, or that the call's deadline cut off. If its response is
// still being read, that is recorded at its end.
func (k *call[T]) recordDuration(g *Grant, spec attemptSpec, v Verdict, begun time.Time) {
	cut := errors.Is(spec.bounded.Err(), context.DeadlineExceeded)
	switch {
	case k.kind == "" || v.Outcome != Success && !cut:
	case g.admission.Released():
		k.pool.durations.Add(k.kind, time.Since(begun), cut, time.Now())
	default:
		g.kind = k.kind
	}
}

// releaseOnPanic sends, and finishes the attempt if send panics.
func (k *call[T]) releaseOnPanic(ctx context.Context, g *Grant) (T, Verdict, error) {
	returned := false
	defer func() {
		if !returned {
			g.finishAttempt()
		}
	}()
	value, verdict, err := k.send(ctx, g)
	returned = true
	return value, verdict, err
}

// startAttempt starts an attempt with the grant, and returns the attempt's context. call is the call's own context, from
// which ctx is derived.
func (g *Grant) startAttempt(ctx, call context.Context, spec attemptSpec, timeout attemptTimeout) context.Context {
	g.Attempt = spec.number
	g.ctx = attemptContext{Context: ctx, call: call, grant: g, number: spec.number, onEnd: spec.onEnd}
	lease := g.admission.Lost()
	if timeout.after == 0 && lease == nil && spec.maxHold == 0 && !spec.response {
		return &g.ctx
	}
	ctx, cancel := context.WithCancelCause(ctx)
	g.ctx.Context, g.ctx.cancel = ctx, cancel
	if timeout.after > 0 {
		g.ctx.until = time.Now().Add(timeout.after)
		g.ctx.timer = time.AfterFunc(timeout.after, func() { cancel(timeout.err) })
	}
	if spec.maxHold > 0 {
		g.ctx.hold = time.AfterFunc(spec.maxHold, func() { cancel(ErrMaxHold) })
	}
	if lease != nil {
		g.ctx.stopWatch = context.AfterFunc(lease, func() { cancel(ErrLeaseLost) })
	}
	return &g.ctx
}

// finishAttempt ends an attempt: its context ends and its permit is released. Further calls do nothing.
func (g *Grant) finishAttempt() {
	first := !g.admission.Released()
	g.ctx.end()
	g.release()
	if first && g.kind != "" {
		cut := g.ctx.call.Err() != nil
		g.pool.durations.Add(g.kind, time.Since(g.begun), cut, time.Now())
	}
}
