package retry

import (
	"errors"
	"time"
)

// Hinter is an error that knows whether and when to try again. The outermost one in an error's tree counts.
type Hinter interface {
	error
	RetryHint() Hint
}

// Hint is what an error says about trying again. The zero Hint says nothing.
type Hint struct {
	// Advice is what to do.
	Advice Advice
	// After is the least time until the next attempt, 0 where none is known. It is a floor: the wait is this and some
	// jitter. Now ignores it, Never passes it on in the Error.
	After time.Duration
}

// Advice is what an error wants done about it.
type Advice int

const (
	// NoAdvice leaves it to Policy.Worth. A Hint with a positive After and NoAdvice is read as Later.
	NoAdvice Advice = iota
	// Later asks for another attempt after a backoff.
	Later
	// Now asks for another attempt without any backoff, because it will take another way: another key, another host.
	Now
	// Never says that another attempt fails in the same way.
	Never
)

// After marks err as worth another attempt, no earlier than d from now. After of nil is nil.
func After(err error, d time.Duration) error {
	return hinted(err, Hint{Advice: Later, After: d})
}

// Permanent marks err as not worth another attempt. Permanent of nil is nil.
func Permanent(err error) error {
	return hinted(err, Hint{Advice: Never})
}

// Immediately marks err as worth another attempt without backoff, because that will take another way. The attempt counts
// like any other. Immediately of nil is nil.
func Immediately(err error) error {
	return hinted(err, Hint{Advice: Now})
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

// hintOf returns the hint that err carries.
func hintOf(err error) Hint {
	h, ok := errors.AsType[Hinter](err)
	if !ok {
		return Hint{}
	}
	hint := h.RetryHint()
	if hint.Advice == NoAdvice && hint.After > 0 {
		hint.Advice = Later
	}
	return hint
}
