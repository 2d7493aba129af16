package caller

import "time"

// Outcome is the result of an attempt.
type Outcome int

// Values of Outcome, with what follows.
const (
	// Success: the provider carried out the request.
	Success Outcome = iota
	// Throttled: a limit was exceeded. The key or account cools down. The call is tried again, which is no attempt.
	Throttled
	// Overloaded: the provider has too much load from all clients. The call is tried again after a backoff.
	Overloaded
	// OutOfCredit: the account can't pay, or reached its spending limit. The account is disabled.
	OutOfCredit
	// KeyRejected: the provider doesn't accept the key. The key is disabled.
	KeyRejected
	// ClientError: the request is wrong. The call is never tried again.
	ClientError
	// Transient: a failure that may pass, such as a broken connection or a 5xx status. The call is tried again.
	Transient
	// Canceled: the call's own context ended.
	Canceled
	// Pending: the beginning of a 2xx body doesn't show yet whether the call succeeded. Profile.Judge returns it for a body
	// that is incomplete. A body that ends while it is Pending has no answer in it, and the attempt failed.
	Pending
)

// String returns the outcome's name, for metrics and messages.
func (o Outcome) String() string {
	names := [...]string{
		"success", "throttled", "overloaded", "out of credit", "key rejected", "client error", "transient", "canceled", "pending",
	}
	if o < 0 || int(o) >= len(names) {
		return "unknown"
	}
	return names[o]
}

// Scope is the part of a pool that an outcome concerns.
type Scope int

// Values of Scope.
const (
	ScopeKey Scope = iota
	ScopeAccount
	ScopeProvider
)

// Verdict is the meaning of a response or an error.
type Verdict struct {
	Outcome Outcome
	Scope   Scope
	// RetryAfter is the least time until the scope should be used again. Defaults to 0: the provider doesn't say.
	RetryAfter time.Duration
	// Reason is the provider's own code or status, for people.
	Reason string
	// ModelOnly narrows ScopeAccount to the call's model: the account serves other models as before. For a call without a
	// model it has no effect. Defaults to false: the verdict applies to all models.
	ModelOnly bool
	// Elsewhere says, with ClientError, that another account may be able to serve the call. With ModelOnly, the account
	// never serves the model. Defaults to false: the request fails on every account.
	Elsewhere bool
	// Concurrency says, with Throttled, that the limit is one on calls in flight. It says nothing about limits per time, so
	// these keep their pace. The pool sets it, too, if the beginning of the response's body says so. Defaults to false.
	Concurrency bool
}
