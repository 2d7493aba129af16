package retry

import (
	"context"
	"fmt"
	"time"
)

// Reason is why Do gave up a call.
type Reason string

// Values of Reason.
const (
	// PermanentFailure: another attempt would fail like the last one.
	PermanentFailure Reason = "permanent"
	// AttemptsSpent: Policy.Attempts were made.
	AttemptsSpent Reason = "attempts"
	// ElapsedSpent: the next attempt would start after Policy.MaxElapsed.
	ElapsedSpent Reason = "elapsed"
	// Deadline: the context's deadline has passed, or the next attempt would start after it.
	Deadline Reason = "deadline"
	// BudgetSpent: Policy.Budget allows no retry now.
	BudgetSpent Reason = "budget"
	// Canceled: the call's context was cancelled.
	Canceled Reason = "canceled"
)

// Error is the error of a call that Do gave up. errors.Is and errors.As search the errors of all attempts. An Error with the
// reason Deadline is a context.DeadlineExceeded.
type Error struct {
	// Reason is why the call was given up.
	Reason Reason
	// Attempts is the number of attempts, uncounted ones included. 0: the context had ended before the first.
	Attempts int
	// Elapsed is the time since Do was called.
	Elapsed time.Duration
	// RetryAfter is the last error's Hint.After, such as from a Retry-After header. 0: it had none.
	RetryAfter time.Duration
	// Wait is the time that Do would have waited before the next attempt: the backoff, or RetryAfter and jitter. 0: another
	// attempt would not help. If the budget is spent, a worker should wait this long before its next job.
	Wait time.Duration
	// Left is the time that was left, for the reasons Deadline and ElapsedSpent.
	Left time.Duration
	// Errs are the errors of the attempts, in order, and then the context's error if that ended the call. Of several attempts in
	// a row that don't count (see Hint.Uncounted) it has the last one's error.
	Errs []error

	own int // how many of Errs are attempts' errors; 0: as Attempts says
}

// Last returns the last attempt's error; nil: there was no attempt.
func (e *Error) Last() error {
	if own := e.ofAttempts(); own > 0 {
		return e.Errs[own-1]
	}
	return nil
}

// ofAttempts returns how many of Errs are attempts' errors.
func (e *Error) ofAttempts() int {
	if e.own > 0 {
		return e.own
	}
	return min(e.Attempts, len(e.Errs)) // not made by Do
}

// Error describes the reason and the last attempt's error.
func (e *Error) Error() string {
	text := fmt.Sprintf("gave up after %s: %s", e.tries(), e.why())
	if err := e.Last(); err != nil {
		text += fmt.Sprintf(": %v", err)
	}
	return text
}

// Unwrap returns Errs.
func (e *Error) Unwrap() []error { return e.Errs }

// Is reports that an Error with the reason Deadline is a context.DeadlineExceeded, also if the deadline hasn't passed yet.
func (e *Error) Is(target error) bool {
	return e.Reason == Deadline && target == context.DeadlineExceeded
}

// RetryHint makes an Error permanent: a Do around the one that gave up doesn't retry, because their attempts would multiply.
func (e *Error) RetryHint() Hint { return Hint{Advice: Never, After: e.RetryAfter} }

func (e *Error) tries() string {
	plural := "s"
	if e.Attempts == 1 {
		plural = ""
	}
	return fmt.Sprintf("%d attempt%s in %v", e.Attempts, plural, e.Elapsed.Round(time.Millisecond))
}

func (e *Error) why() string {
	switch e.Reason {
	case PermanentFailure:
		return "another attempt would fail like the last"
	case AttemptsSpent:
		return "Policy.Attempts is reached"
	case ElapsedSpent:
		return fmt.Sprintf("the next attempt is due in %v, MaxElapsed ends in %v", round(e.Wait), round(e.Left))
	case Deadline:
		if e.Left == 0 {
			return "the deadline has passed"
		}
		return fmt.Sprintf("the next attempt is due in %v, the deadline is in %v", round(e.Wait), round(e.Left))
	case BudgetSpent:
		return "the retry budget is spent: too many calls fail"
	default:
		return e.interruption()
	}
}

// interruption returns the reason with the context's error.
func (e *Error) interruption() string {
	if len(e.Errs) > e.ofAttempts() {
		return fmt.Sprintf("%s (%v)", e.Reason, e.Errs[len(e.Errs)-1])
	}
	return string(e.Reason)
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
