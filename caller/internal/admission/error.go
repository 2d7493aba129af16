package admission

import (
	"errors"
	"time"

	"github.com/penstock/penstock/scripts"
)

// Refusal is why a call isn't admitted.
type Refusal struct { //nolint:errname // a refusal is an answer, and what the caller shows is its *Error
	Err        error         // one of the errors below, an error of Redis, or why the context ended
	RetryAfter time.Duration // until it is worth asking again; 0: unknown
	Limit      int           // index of the limit in the way, or NoLimit
	Detail     string        // why the first key is disabled; empty: none is
}

// NoLimit stands for a refusal that no limit is the reason of.
const NoLimit = -1

func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Err }

// Reasons of a Refusal.
var (
	ErrClosed    = errors.New("the controller is closed")
	ErrQueueFull = errors.New("too many calls wait")
	ErrDeadline  = errors.New("no capacity before the deadline")
	ErrNoKeys    = errors.New("every key is disabled")
	ErrNoModel   = errors.New("no account has the model")
	ErrExcluded  = errors.New("every key is disabled or excluded")
)

// ErrSettlement is the error of a settlement that can't be true.
var ErrSettlement = errors.New("the settlement can't be true")

// maxDebt is how many times a limit's units a call may cost more than it was charged. Redis refuses more, too.
const maxDebt = 2

// Constraints that are no limit and that a call can wait for.
const (
	ConstraintPermits  = scripts.ConstraintPermits  // every permit is taken
	ConstraintCooldown = scripts.ConstraintCooldown // every key cools down
)
