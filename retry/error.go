package retry

import (
	"context"
	"fmt"
	"time"
)

// Reason is why a call was given up.
type Reason string

// Reasons.
const (
	// PermanentFailure: the last error isn't worth another attempt.
	PermanentFailure Reason = "permanent"
	// AttemptsSpent: Policy.Attempts were made.
	AttemptsSpent Reason = "attempts"
	// ElapsedSpent: the next attempt would start after Policy.MaxElapsed.
	ElapsedSpent Reason = "elapsed"
	// Deadline: the context's deadline passed, or the next attempt would start after it.
	Deadline Reason = "deadline"
	// BudgetSpent: Policy.Budget allows no more retries at the moment.
	BudgetSpent Reason = "budget"
	// Canceled: the call's context was cancelled.
	Canceled Reason = "canceled"
)

// Error is why Do gave up. errors.Is and errors.As look through the errors of all attempts, and an Error with the reason
// Deadline is a context.DeadlineExceeded.
type Error struct {
	// Reason is what ended the call.
	Reason Reason
	// Attempts is how many were made; 0 if the context was over before the first.
	Attempts int
	// Elapsed is the time that all of it took.
	Elapsed time.Duration
	// RetryAfter is the floor that the last error named, such as a Retry-After header; 0 if it named none.
	RetryAfter time.Duration
	// Wait is how long Do would have waited for the next attempt: the backoff, or the floor and the jitter above it. 0
	// where no attempt would help. A worker that takes the next job at once should wait this long first when a budget
	// is spent; otherwise it spins.
	Wait time.Duration
	// Left is how much time was left until the deadline or MaxElapsed, for these two reasons.
	Left time.Duration
	// Errs has the error of each attempt, in their order, and after them the context's, where that ended the call.
	Errs []error
}

// Error says why the call was given up, with the last attempt's error.
func (e *Error) Error() string {
	text := fmt.Sprintf("gave up after %s: %s", e.tries(), e.why())
	if e.Attempts > 0 && e.Attempts <= len(e.Errs) {
		text += fmt.Sprintf(": %v", e.Errs[e.Attempts-1])
	}
	return text
}

// Unwrap returns Errs.
func (e *Error) Unwrap() []error { return e.Errs }

// Is makes a deadline that couldn't be met look like one that has passed.
func (e *Error) Is(target error) bool {
	return e.Reason == Deadline && target == context.DeadlineExceeded
}

// RetryHint makes an Error permanent: a call that was given up isn't taken up again by a Do around it, since their
// attempts would multiply.
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
		return "not worth another"
	case AttemptsSpent:
		return "no more are allowed (raise Attempts)"
	case ElapsedSpent:
		return fmt.Sprintf("the next is due in %v, MaxElapsed ends in %v", round(e.Wait), round(e.Left))
	case Deadline:
		if e.Left == 0 {
			return "the deadline has passed"
		}
		return fmt.Sprintf("the next is due in %v, the deadline is in %v", round(e.Wait), round(e.Left))
	case BudgetSpent:
		return "the retry budget is spent; too many calls fail"
	default:
		return e.interruption()
	}
}

// interruption is the reason with the error that the context ended with.
func (e *Error) interruption() string {
	if len(e.Errs) > e.Attempts {
		return fmt.Sprintf("%s (%v)", e.Reason, e.Errs[len(e.Errs)-1])
	}
	return string(e.Reason)
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
