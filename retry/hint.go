package retry

import (
	"errors"
	"time"
)

// Hinter is an error with a Hint about retries. The outermost Hinter in an error's tree counts.
type Hinter interface {
	error
	RetryHint() Hint
}

// Delayer is an error that knows when another attempt may succeed, such as *ratelimit.Error. Its package needn't import this
// one. An error that is no Hinter and has a positive RetryDelay counts as one with the advice Later. So an ErrDeadline, by which
// a limiter refuses a wait in advance, ends a call whose deadline is too close, and not only after the last attempt.
type Delayer interface {
	error
	// RetryDelay returns the least time until another attempt may succeed. 0: unknown.
	RetryDelay() time.Duration
}

// Hint is an error's advice about retries. The zero Hint gives none.
type Hint struct {
	// Advice is what to do.
	Advice Advice
	// After is the least time until the next attempt. 0: unknown. The wait is After and jitter. With the advice Now it has no
	// effect; with Never it only becomes the Error's RetryAfter.
	After time.Duration
	// Uncounted says that the attempt had no effect, for example because its connection was never made. It doesn't count
	// towards Policy.Attempts and takes nothing from Policy.Budget. Defaults to false.
	Uncounted bool
}

// Advice is what to do after an error.
type Advice int

// Values of Advice.
const (
	// NoAdvice leaves the decision to Policy.Retryable. If Hint.After is positive, NoAdvice means Later.
	NoAdvice Advice = iota
	// Later: try again after a backoff.
	Later
	// Now: try again without a backoff, because the next attempt differs: another key, another host.
	Now
	// Never: don't try again, because another attempt would fail in the same way.
	Never
)

// After marks err as retryable, no earlier than d from now. After of nil is nil.
func After(err error, d time.Duration) error {
	return hinted(err, Hint{Advice: Later, After: d})
}

// Permanent marks err as not retryable. Permanent of nil is nil.
func Permanent(err error) error {
	return hinted(err, Hint{Advice: Never})
}

// Immediately marks err as retryable without a backoff, because the next attempt will differ. It counts like any other
// attempt. Immediately of nil is nil.
func Immediately(err error) error {
	return hinted(err, Hint{Advice: Now})
}

// Uncounted marks err as that of an attempt without an effect. The rest of err's hint stays. Uncounted of nil is nil.
func Uncounted(err error) error {
	h := hintOf(err)
	h.Uncounted = true
	return hinted(err, h)
}

func hinted(err error, h Hint) error {
	if err == nil {
		return nil
	}
	return &hintError{err, h}
}

type hintError struct {
	error
	hint Hint
}

func (e *hintError) RetryHint() Hint { return e.hint }
func (e *hintError) Unwrap() error   { return e.error }

// hintOf returns the hint of the outermost Hinter in err, or else of the outermost Delayer.
func hintOf(err error) Hint {
	var hint Hint
	if err == nil {
		return hint
	}
	if h, ok := errors.AsType[Hinter](err); ok {
		hint = h.RetryHint()
	} else if d, ok := errors.AsType[Delayer](err); ok {
		hint.After = d.RetryDelay()
	}
	if hint.Advice == NoAdvice && hint.After > 0 {
		hint.Advice = Later
	}
	return hint
}
