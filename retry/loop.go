package retry

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	retrygo "github.com/avast/retry-go/v4"
)

// loop is the state of one Do. It belongs to one goroutine.
type loop struct {
	ctx     context.Context
	policy  Policy // with defaults
	started time.Time
	timer   timer

	attempts int           // started
	counted  int           // attempts that failed and count towards Policy.Attempts
	hint     Hint          // of the last attempt's error
	backoffs int           // failures that lengthen the next wait; those retried immediately don't
	wait     time.Duration // before the next attempt
	drawn    time.Duration // the last backoff, which the next one of decorrelated jitter depends on
	errs     []error       // of the attempts; of several uncounted ones in a row the last
	stopped  *Error        // why the loop has ended; nil: it hasn't
}

func newLoop(ctx context.Context, p Policy) *loop {
	return &loop{ctx: ctx, policy: p, started: time.Now()}
}

// options passes the decisions to retry-go. RetryIf makes all of them, also on the number of attempts, because retry-go calls
// OnRetry after the last attempt, too.
func (l *loop) options(onRetry retrygo.OnRetryFunc) []retrygo.Option {
	return []retrygo.Option{
		retrygo.Context(l.ctx),
		retrygo.Attempts(0), // any number
		retrygo.RetryIf(l.retry),
		retrygo.OnRetry(onRetry),
		retrygo.DelayType(func(uint, error, *retrygo.Config) time.Duration { return l.wait }),
		retrygo.WithTimer(&l.timer),
	}
}

// begin counts an attempt, and reports whether it may run. retry-go chooses at random when both its timer and the context are
// done, so that a cancelled call could run again.
func (l *loop) begin() bool {
	if l.ctx.Err() != nil {
		return false
	}
	l.attempts++
	if l.attempts == 1 && l.policy.Budget != nil {
		l.policy.Budget.First()
	}
	return true
}

// record records an attempt's error. A call may have very many uncounted attempts, so of several in a row it keeps the last.
func (l *loop) record(err error) error {
	if err == nil {
		return nil
	}
	before := l.hint.Uncounted
	l.hint = hintOf(err)
	switch {
	case l.hint.Uncounted && before:
		l.errs[len(l.errs)-1] = err
		return err
	case !l.hint.Uncounted:
		l.counted++
	}
	l.errs = append(l.errs, err)
	return err
}

// announce calls the policy's hook before a retry.
func (l *loop) announce(err error) {
	if l.policy.Hooks.Retried != nil {
		l.policy.Hooks.Retried(l.ctx, Event{Attempt: l.attempts, Err: err, Wait: l.wait, Elapsed: time.Since(l.started)})
	}
}

// retry decides whether another attempt follows err, and sets the wait before it.
func (l *loop) retry(err error) bool {
	if l.ctx.Err() != nil {
		return false // failure determines the reason
	}
	hint := l.hint
	if !l.retryable(err, hint) {
		return l.stop(PermanentFailure, hint, 0)
	}
	l.plan(hint)
	if l.policy.Attempts == 1 || !hint.Uncounted && l.counted >= l.policy.Attempts {
		return l.stop(AttemptsSpent, hint, 0)
	}
	if limit := l.policy.MaxElapsed; limit > 0 {
		if left := limit - time.Since(l.started); l.wait > left {
			return l.stop(ElapsedSpent, hint, left)
		}
	}
	if deadline, ok := l.ctx.Deadline(); ok {
		if left := time.Until(deadline); l.wait >= left {
			return l.stop(Deadline, hint, left)
		}
	}
	// The budget comes last, so that a retry that another limit forbids takes nothing from it.
	if b := l.policy.Budget; b != nil && !hint.Uncounted && !b.Retry() {
		return l.stop(BudgetSpent, hint, 0)
	}
	return true
}

// retryable reports whether err allows another attempt. With a RetryIf, retry-go ignores its own Unrecoverable, so it is
// checked here for code that uses it.
func (l *loop) retryable(err error, hint Hint) bool {
	switch {
	case hint.Advice == Never || !retrygo.IsRecoverable(err):
		return false
	case hint.Advice != NoAdvice:
		return true
	}
	return l.policy.Retryable(err)
}

// plan sets the wait before the next attempt.
func (l *loop) plan(hint Hint) {
	if hint.Advice == Now {
		l.wait = 0
		return
	}
	p := l.policy
	l.backoffs++
	if hint.Uncounted {
		// A call may have any number of such attempts. Its waits grow no longer than those of attempts that count.
		l.backoffs = min(l.backoffs, max(p.Attempts, DefaultAttempts)-1)
		p.Max = ceiling(p, l.backoffs)
		p.Base = min(p.Base, p.Max)
	}
	l.wait, l.drawn = pause(p, l.backoffs, l.drawn, hint.After, rand.Float64())
}

// stop ends the loop for a reason and returns false.
func (l *loop) stop(why Reason, hint Hint, left time.Duration) bool {
	l.stopped = &Error{Reason: why, RetryAfter: max(hint.After, 0), Left: max(left, 0)}
	if why != PermanentFailure {
		l.stopped.Wait = l.wait
	}
	return false
}

// failure returns the error of a loop that has ended.
func (l *loop) failure() error {
	if l.stopped == nil && l.ctx.Err() == nil { // retry-go doesn't ask RetryIf about its own Unrecoverable
		l.stop(PermanentFailure, l.hint, 0)
	}
	e := l.stopped
	if e == nil {
		e = l.interrupted()
	}
	e.Attempts, e.Elapsed = l.attempts, time.Since(l.started)
	e.own = len(l.errs)
	e.Errs = append(l.errs, e.Errs...)
	return e
}

// interrupted returns the error of a call whose context has ended. It has the context's error and its cause, unless the
// attempts' errors have them already.
func (l *loop) interrupted() *Error {
	e := &Error{Reason: Canceled}
	ctxErr := l.ctx.Err()
	if errors.Is(ctxErr, context.DeadlineExceeded) {
		e.Reason = Deadline
	}
	for _, err := range []error{ctxErr, context.Cause(l.ctx)} {
		if !errors.Is(errors.Join(append(l.errs, e.Errs...)...), err) {
			e.Errs = append(e.Errs, err)
		}
	}
	return e
}

// timer implements retry-go's Timer with one timer for all waits of a call, which is stopped when the call returns.
type timer struct{ t *time.Timer }

// After implements retry-go's Timer.
func (t *timer) After(d time.Duration) <-chan time.Time {
	if t.t == nil {
		t.t = time.NewTimer(d)
	} else {
		t.t.Reset(d)
	}
	return t.t.C
}

func (t *timer) stop() {
	if t.t != nil {
		t.t.Stop()
	}
}
