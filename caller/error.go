package caller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
	"github.com/penstock/penstock/concurrency"
	"github.com/penstock/penstock/retry"
)

// Reasons for which the pool ends a call. Test with errors.Is.
var (
	// ErrNeverFits: the call costs more than a limit allows in a whole period.
	ErrNeverFits = errors.New("the call costs more than the limit ever allows: make it smaller or raise the limit")
	// ErrSettlement: the cost given to Grant.Settle can't be true.
	ErrSettlement = admission.ErrSettlement
	// ErrNoKeys: every key is disabled. Error.RetryAfter is the time until the first is tried again.
	ErrNoKeys = errors.New("every key is disabled: replace the keys or the account's means of payment")
	// ErrDeadline: the call's send time would come after its deadline. Error.RetryAfter is the time until then. For
	// errors.Is it is also context.DeadlineExceeded.
	ErrDeadline = fmt.Errorf("no capacity before the deadline, extend it or reduce load: %w", context.DeadlineExceeded)
	// ErrQueueFull: Tuning.MaxWaiting calls of this process are waiting.
	ErrQueueFull = errors.New("too many calls are waiting: send fewer at once or raise MaxWaiting")
	// ErrClosed: the Pool is closed.
	ErrClosed = errors.New("the pool is closed")
)

// ErrLeaseLost ended an attempt: this process couldn't renew its session for Tuning.SessionTTL, so other processes may get
// the permit. The call is retried if that is safe. A process that was stopped for longer first has a tenth of SessionTTL to
// read answers that came in the meantime. See Tuning.ContinueOnLeaseLoss.
var ErrLeaseLost = concurrency.ErrLeaseLost

// errNoOther: the accounts that could serve the call are excluded from it.
var errNoOther = fmt.Errorf("%w, except those of accounts that are excluded from this call", ErrNoKeys)

var errNegativeCost = errors.New("a cost can't be negative: give 0 or more")

// Error is the error of a call. Fields that don't apply are empty.
type Error struct {
	Pool       string
	Key        string // key ID of the last attempt
	Account    string
	Metric     Metric        // of the limit that refused the call
	Limit      int64         // of that metric, in units
	Cost       int64         // the call's, in units of that metric
	RetryAfter time.Duration // until a retry can help; 0: not known
	Attempts   int           // attempts made
	Outcome    Outcome       // of the last attempt; Success if none was made
	Err        error         // the cause: one of the errors above, a *retry.Error, a Redis error, or a context's
}

// Error returns the fields as text, which holds no secret.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pool %q", e.Pool)
	if e.Key != "" {
		fmt.Fprintf(&b, ", key %q", e.Key)
	}
	if e.Account != "" && e.Account != e.Key {
		fmt.Fprintf(&b, ", account %q", e.Account)
	}
	if e.Metric != "" {
		fmt.Fprintf(&b, ", limit of %d %s (cost %d)", e.Limit, e.Metric, e.Cost)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, ", retry after %v", e.RetryAfter.Round(time.Millisecond))
	}
	if e.Attempts > 0 {
		fmt.Fprintf(&b, ", attempts %d", e.Attempts)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the call ended because its time, or that of its last attempt, was up. The Timeout method of the
// *url.Error that an http.Client returns has the same result.
func (e *Error) Timeout() bool {
	if errors.Is(e.Err, context.DeadlineExceeded) {
		return true
	}
	timeout, ok := errors.AsType[net.Error](e.Err)
	return ok && timeout.Timeout()
}

// refused returns the *Error of a refusal of admission; a context's error as it is. units are the call's.
func (p *settings) refused(err error, units []int64) error {
	r, ok := err.(*admission.Refusal)
	if !ok {
		return err
	}
	out := &Error{Pool: p.Name, RetryAfter: r.RetryAfter, Err: reasonOf(err)}
	if r.Limit != admission.NoLimit {
		l := &p.ruling().limits[r.Limit]
		out.Metric, out.Limit, out.Cost = l.Metric, l.Usable(), units[p.index[r.Limit]]
	}
	return out
}

// reasonOf returns the public reason of an error of admission.
func reasonOf(err error) error {
	r, ok := err.(*admission.Refusal)
	if !ok {
		return err
	}
	switch r.Err { //nolint:errorlint // the very values
	case admission.ErrClosed:
		return ErrClosed
	case admission.ErrQueueFull:
		return ErrQueueFull
	case admission.ErrDeadline:
		return ErrDeadline
	case admission.ErrNoKeys:
		return fmt.Errorf("%w (%s)", ErrNoKeys, r.Detail)
	case admission.ErrNoModel:
		return ErrNoModel
	case admission.ErrExcluded:
		return errNoOther
	default:
		return r.Err
	}
}

// cutShortError is the error of a call that failed and is refused by admission when it is retried.
type cutShortError struct {
	refusal error
	err     error // the *retry.Error of all attempts
}

// Error returns the text of both. The text of retry.Error alone would count the refusal as an attempt.
func (e *cutShortError) Error() string {
	r, ok := errors.AsType[*retry.Error](e.err)
	if !ok {
		return fmt.Sprintf("%v: %v", e.refusal, e.err)
	}
	for _, err := range slices.Backward(r.Errs) {
		if !errors.Is(err, e.refusal) {
			return fmt.Sprintf("%v; the last attempt failed: %v", e.refusal, err)
		}
	}
	return fmt.Sprintf("%v: %v", e.refusal, e.err)
}

// Unwrap returns both.
func (e *cutShortError) Unwrap() []error { return []error{e.refusal, e.err} }
