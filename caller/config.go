package caller

import (
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
	"github.com/penstock/penstock/concurrency"
	"github.com/penstock/penstock/retry"
)

// Config describes one pool: the keys, what their provider allows, and how calls are retried. Processes with the same
// Pool and Redis share the quota; they should have the same Limits and Concurrency.
type Config struct {
	// Pool names the shared state in Redis. Required.
	Name string
	// Keys are the API keys to rotate over. At least one is required.
	Keys []Key
	// Limits are what the provider allows. None: calls are limited by Concurrency alone.
	Limits []Limit
	// Concurrency is how many calls each account may have in flight over all processes. Defaults to 0: no limit.
	Concurrency int
	// Adaptive makes the number of calls in flight follow what calls meet, between Adaptive.Min and Concurrency: one limit
	// for each account, the same for all processes. An attempt that is throttled, meets an overload or times out lowers it;
	// see concurrency.Adaptive. Where nobody has used it of late, it begins at Initial, or, as soon as the provider says
	// how many requests it would take at the moment (x-ratelimit-remaining), at that. Defaults to nil: it is Concurrency.
	Adaptive *concurrency.Adaptive
	// Profile says what the provider's requests and answers mean. Defaults to the HTTP standard: bearer tokens, status
	// codes and Retry-After.
	Profile Profile
	// Retry bounds and spaces the attempts of a call. The zero Policy has the defaults of package retry. Its Budget, made
	// by retry.NewBudget, bounds retries to a share of first attempts, in this process; share one among all Callers of a
	// provider. Defaults to none.
	Retry retry.Policy
	// Timeout bounds a call as a whole, waits and attempts together, until its answer is there; with Transport, until the
	// answer's headers are. A call whose turn comes later is refused at once. Defaults to 0: its context alone counts.
	Timeout time.Duration
	// AttemptTimeout bounds each attempt, from sending until its answer is there; with Transport, until the answer's
	// headers are, or all that is read of an error. An attempt that takes longer is cancelled, and counts as a transient
	// failure, which is tried again where that is safe. Defaults to 0: no bound.
	AttemptTimeout time.Duration
	// IdempotencyKeys gives every call an idempotency key of its own, the same for all its attempts: Transport adds the
	// header Idempotency-Key to requests that aren't idempotent by themselves (see Idempotent), Do sets
	// Grant.IdempotencyKey. Such calls are tried again after failures that leave open whether they were carried out, so
	// use it only with providers that heed the key. Defaults to false.
	IdempotencyKeys bool
	// Strategy says which of the accounts that can serve a call now gets it. Where none can, it is the one that can
	// first. Defaults to Headroom.
	Strategy Strategy
	// Breaker keeps calls of this process from what fails again and again. Defaults to off.
	Breaker Breaker
	// Hedge sends a second request where the first is slow. Defaults to off.
	Hedge Hedge
	// Hooks observe what happens. Optional.
	Hooks Hooks
	// Tuning has what most pools leave alone. The zero Tuning has all defaults.
	Tuning Tuning
}

// Tuning is the part of Config that the defaults fit in nearly all cases.
type Tuning struct {
	// ArrivalJitter is how much longer than another one call may take from its admission to the provider's counter (packet
	// delay variation, RFC 3393). Limits hold at the provider up to this much; a window W loses ArrivalJitter/(W+ArrivalJitter)
	// of its quota to it. At least 0. Defaults to 100 ms. Raise it where processes are late for longer, and 429s show that.
	ArrivalJitter time.Duration
	// Horizon is how far ahead of now a call of PriorityHigh may be booked, a call of PriorityNormal half as far, and of
	// PriorityLow a quarter. What is not booked yet is free for more urgent calls of all processes. At least 0. Defaults to
	// 200 ms. Raise it where a quarter is less than a round trip to Redis.
	Horizon time.Duration
	// Aging is the time after which a waiting call moves up one priority. More than 0. Defaults to 30 s.
	Aging time.Duration
	// MaxWaiting is the number of calls of this process that may wait for admission. A further call fails with ErrQueueFull.
	// At least 1. Defaults to 100,000.
	MaxWaiting int
	// SessionTTL is the time for which the permits of a process that died stay taken. A third of it is the heartbeat's
	// interval. At least 1 s. Defaults to 10 s.
	SessionTTL time.Duration
	// SessionName names this process in Inspect. Defaults to the host name and the process number.
	SessionName string
	// ContinueOnLeaseLoss lets calls in flight go on when Redis could not be reached for SessionTTL. Other processes may get
	// their permits then, so Concurrency can be exceeded. Defaults to false: the contexts of these calls end with ErrLeaseLost.
	ContinueOnLeaseLoss bool
}

// Key is one API key.
type Key struct {
	// ID names the key in Redis, metrics and errors. Required, unique in the pool, and never the secret.
	ID string
	// Secret is what the provider knows the key by. It never leaves the process except in requests.
	Secret Secret
	// Account is what the provider really counts: keys of one account share its limits. Defaults to the ID.
	Account string
	// Weight is the key's part where Strategy goes by weights; an account has the highest of its keys'. Defaults to 1.
	Weight int
}

// Strategy says which of the accounts that can serve a call now gets it.
type Strategy string

const (
	// Headroom takes the account that has been ready for longest, times its weight. The default.
	LeastLoaded Strategy = "least_loaded"
	// RoundRobin takes accounts in turn, by weight.
	RoundRobin Strategy = "round_robin"
	// InOrder takes the first account in Config.Keys, and the others as it has no room: for a main account and spares.
	FirstAvailable Strategy = "first_available"
)

// known reports whether there is such a strategy. The script has the same names.
func (s Strategy) known() bool {
	switch admission.Strategy(s) {
	case admission.LeastLoaded, admission.RoundRobin, admission.FirstAvailable:
		return true
	}
	return false
}
