package caller

import (
	"context"
	"fmt"
	"time"
)

// Options are what one call wants of its own. They travel in its context, so that they reach Do and, through an SDK,
// Transport alike. The zero Options change nothing.
type Options struct {
	// Model is the model that the call is for, where limits and cooldowns are by model. Defaults to what the Profile
	// finds in the request; for Do, to none.
	Model string
	// Priority puts the call before or behind others that wait, in the whole fleet. Defaults to Normal.
	Priority Priority
	// Affinity is any text: calls with the same one go to the same account while it has room, so that the provider's
	// prompt cache is of use. Defaults to none.
	Affinity string
	// Repeatable is the caller's word on whether the call may be carried out twice. Defaults to the Profile's judgement of
	// the request; for Do, to yes.
	Idempotency Idempotency
	// IdempotencyKey is sent as the header Idempotency-Key with every attempt of the call, which makes it repeatable. Do
	// leaves the sending to the function it is given. Defaults to none, or see Config.IdempotencyKeys.
	IdempotencyKey string
	// AttemptTimeout bounds one attempt, as Config.AttemptTimeout does, and takes its place; more than 0. Defaults to 0:
	// Config.AttemptTimeout.
	AttemptTimeout time.Duration
	// Share is any text that stands for what is asked: calls of this process with the same one that are under way at the
	// same time are one call, whose result all of them get; it must not be changed. Whoever leaves doesn't end it for the
	// others, the last one does; deadlines bound the waiting of each, and the call itself only by Config.Timeout. With
	// Transport, the answer is read whole before anybody gets it, up to 64 MiB, also of a stream. Defaults to none.
	DedupKey string
	// Estimated says that the cost given to Do is an estimate whose InputTokens are the prompt's, from its size: it is
	// corrected as Transport's is (see Profile.Calibrated), and Grant.Settle teaches. Defaults to false: the cost given is
	// charged.
	Estimated bool

	prompt   int64  // tokens that the prompt was estimated at; 0: nothing is to be learned from them
	hedge    bool   // it may be
	endpoint string // as Transport finds it, for the circuit breaker and the latencies
}

// Priority is how urgent a call is. A call that waits is served before those of lower priority, in the whole fleet, and
// within a priority in order of arrival.
type Priority int

// Priorities.
const (
	// Bulk is for work that nobody waits for.
	PriorityLow Priority = iota - 1
	// Normal is for everything else.
	PriorityNormal
	// Interactive is for calls that somebody waits for.
	PriorityHigh
)

// Repeatable says whether a call may be carried out twice, as happens where an attempt's connection breaks before the
// answer, and the call is sent again.
type Idempotency int

// Words on repeating.
const (
	// RepeatByProfile leaves it to the Profile's judgement of the request.
	IdempotencyFromProfile Idempotency = iota
	// Repeat: twice does no more harm than its price.
	IdempotencyYes
	// Once: it must not be carried out twice. It is sent again only where the answer shows that it wasn't carried out.
	IdempotencyNo
)

type optionsKey struct{}

// WithOptions returns a context whose calls have the options o, in place of those that ctx carries.
func WithOptions(ctx context.Context, o Options) context.Context {
	return context.WithValue(ctx, optionsKey{}, &o)
}

// OptionsFrom returns the options that ctx carries. To change one of them, change the copy and give it to WithOptions.
func OptionsFrom(ctx context.Context) Options {
	if o, ok := ctx.Value(optionsKey{}).(*Options); ok {
		return *o
	}
	return Options{}
}

// check says what of o is out of range.
func (o Options) check() error {
	switch {
	case o.Priority < PriorityLow || o.Priority > PriorityHigh:
		return fmt.Errorf("Options.Priority is %d: use Bulk, Normal or Interactive", o.Priority)
	case o.Idempotency < IdempotencyFromProfile || o.Idempotency > IdempotencyNo:
		return fmt.Errorf("Options.Repeatable is %d: use Repeat, Once, or leave it to the profile", o.Idempotency)
	case o.AttemptTimeout < 0:
		return fmt.Errorf("Options.AttemptTimeout is %v: use more than 0, or 0 for Config.AttemptTimeout", o.AttemptTimeout)
	}
	return nil
}
