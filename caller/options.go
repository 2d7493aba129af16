package caller

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock/penstock/concurrency"
)

// Options configure one call. The call's context carries them, so that they reach Do and, through an SDK, Transport. The
// zero Options have the defaults.
type Options struct {
	// Model is the model that the call is for. Limits and cooldowns by model depend on it. Defaults to the model that the
	// Profile finds in the request; for Do, to none.
	Model string
	// Priority orders waiting calls, over all processes. Defaults to PriorityNormal.
	Priority Priority
	// Tenant is the ID of the tenant whose share of the pool the call uses (see Config.Tenants). One that isn't listed is the
	// default tenant. Defaults to that.
	Tenant string
	// Affinity is any text. Calls with the same text go to the same account while it has capacity, so that they can use the
	// provider's prompt cache. Defaults to none.
	Affinity string
	// Idempotency says whether the call may be carried out twice. Defaults to IdempotencyFromProfile; for Do, that is yes.
	Idempotency Idempotency
	// IdempotencyKey is the value of the header Idempotency-Key of all attempts of the call, which makes the call
	// idempotent. A function given to Do sends it itself. Defaults to none; see Config.IdempotencyKeys.
	IdempotencyKey string
	// AttemptTimeout is the longest time of one attempt, in place of Config.AttemptTimeout. At least 0. Defaults to 0:
	// Config.AttemptTimeout.
	AttemptTimeout time.Duration
	// Whole makes the whole response part of the attempt: Transport reads its body, up to 64 MiB, before RoundTrip returns. An
	// answer that is cut, stalls for Config.IdleTimeout, or is empty is then a transient failure, and is tried again if the call
	// is idempotent. A longer answer is returned as it comes from there on. Defaults to false, and Config.Whole to that.
	Whole bool
	// Timeout bounds the call, in place of Config.Timeout. At least 0. Defaults to 0: Config.Timeout.
	Timeout time.Duration
	// MaxWait bounds the time that the call waits for admission, all its attempts together. If it would wait for longer, it
	// is refused at once with ErrDeadline. At least 0. Defaults to 0: the call's deadline alone bounds the wait.
	MaxWait time.Duration
	// DedupKey is any text that identifies the call's content. Calls of this process with the same text that are under way
	// at the same time become one call.
	//
	// All of them get its result, which must not be changed. The call ends when the last of them has left. A context bounds
	// its own caller's wait; only Config.Timeout bounds the call. Transport reads the whole response first, up to 64 MiB,
	// also of a stream. Defaults to none.
	DedupKey string
	// Estimated says that the cost given to Do is an estimate whose InputTokens are the prompt's, guessed from its size.
	// The pool then corrects the cost as that of Transport (see Profile.Calibrated), and Grant.Settle adds a sample.
	// Defaults to false: the cost is charged as given.
	Estimated bool
}

// Priority orders waiting calls. In all processes together, a call of a higher priority is served before one of a lower,
// and calls of one priority in the order of their arrival.
type Priority = concurrency.Priority

// Values of Priority.
const (
	// PriorityLow is for bulk work.
	PriorityLow = concurrency.PriorityLow
	// PriorityNormal is the default.
	PriorityNormal = concurrency.PriorityNormal
	// PriorityHigh is for calls that a person waits for.
	PriorityHigh = concurrency.PriorityHigh
)

// Idempotency says whether a call may be carried out twice. That happens if an attempt's connection breaks before the
// response, and the call is sent again.
type Idempotency int

// Values of Idempotency.
const (
	// IdempotencyFromProfile: the Profile judges the request.
	IdempotencyFromProfile Idempotency = iota
	// IdempotencyYes: a second time has no further effect than its price.
	IdempotencyYes
	// IdempotencyNo: the call is sent again only if a response shows that it wasn't carried out.
	IdempotencyNo
)

type optionsKey struct{}

// WithOptions returns a context whose calls have the options o, in place of those that ctx carries.
func WithOptions(ctx context.Context, o Options) context.Context {
	return context.WithValue(ctx, optionsKey{}, &o)
}

// OptionsFrom returns the options that ctx carries. To change one, change the copy and pass it to WithOptions.
func OptionsFrom(ctx context.Context) Options {
	if o, ok := ctx.Value(optionsKey{}).(*Options); ok {
		return *o
	}
	return Options{}
}

// check returns an error for a field that is out of range.
func (o Options) check() error {
	switch {
	case o.Priority < PriorityLow || o.Priority > PriorityHigh:
		return fmt.Errorf("Options.Priority is %d: use PriorityLow, PriorityNormal or PriorityHigh", o.Priority)
	case o.Idempotency < IdempotencyFromProfile || o.Idempotency > IdempotencyNo:
		return fmt.Errorf("Options.Idempotency is %d: use IdempotencyYes, IdempotencyNo or IdempotencyFromProfile", o.Idempotency)
	case o.AttemptTimeout < 0:
		return fmt.Errorf("Options.AttemptTimeout is %v: use more than 0, or 0 for Config.AttemptTimeout", o.AttemptTimeout)
	case o.Timeout < 0:
		return fmt.Errorf("Options.Timeout is %v: use more than 0, or 0 for Config.Timeout", o.Timeout)
	case o.MaxWait < 0:
		return fmt.Errorf("Options.MaxWait is %v: use more than 0, or 0 for no bound", o.MaxWait)
	}
	return nil
}
