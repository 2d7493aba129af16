package caller

import (
	"time"

	"github.com/penstock/penstock/concurrency"
	"github.com/penstock/penstock/retry"
	"github.com/penstock/penstock/scripts"
)

// Config describes one pool: the keys, what their provider allows, and how calls are retried. Processes with the same
// Pool and Redis share the quota; they should have the same Limits and Concurrency.
type Config struct {
	// Pool names the shared state in Redis. Required.
	Pool string
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
	// Slack is how much longer than another one call may take from its admission to the provider's counter. Limits
	// keep their promise at the provider up to this much jitter; a window W loses Slack/(W+Slack) of its quota to it.
	// Defaults to 100 ms.
	Slack time.Duration
	// Horizon is how far ahead of now the place of an Interactive call may be booked; that of a Normal call half as far,
	// and of a Bulk call a quarter, which is what lets urgent calls in before those that wait already, in the whole
	// fleet. A quarter should exceed a round trip to Redis and what a busy process is late by. Defaults to 200 ms.
	Horizon time.Duration
	// Strategy says which of the accounts that can serve a call now gets it. Where none can, it is the one that can
	// first. Defaults to Headroom.
	Strategy Strategy
	// Aging is how long a call waits until it counts as one of the next higher Priority, so that none waits for ever.
	// Defaults to 30 s.
	Aging time.Duration
	// MaxWaiting is how many calls of this process may wait for admission; others get ErrQueueFull. Defaults to 100,000.
	MaxWaiting int
	// TTL is how long the permits of a process that died stay taken, and the heartbeat's scale (a third of it).
	// Defaults to 10 s; at least 1 s.
	TTL time.Duration
	// OutliveLease lets calls in flight go on where Redis couldn't be told of them for a TTL. Defaults to false: with
	// Concurrency set, their contexts end then, with ErrLeaseLost, because other processes may get their permits; so
	// Concurrency is never exceeded, and an outage of Redis that lasts longer than the TTL costs an attempt.
	OutliveLease bool
	// Session names this process to whoever looks at the pool. Defaults to host name and process number.
	Session string
	// Breaker keeps calls of this process from what fails again and again. Defaults to off.
	Breaker Breaker
	// Hedge sends a second request where the first is slow. Defaults to off.
	Hedge Hedge
	// PlainErrors makes Transport return an error for a call that ends without an answer of the provider. Defaults to
	// false: it returns an answer of its own, because client libraries of providers try again after any error.
	PlainErrors bool
	// Hooks observe what happens. Optional.
	Hooks Hooks
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
	Headroom Strategy = "headroom"
	// RoundRobin takes accounts in turn, by weight.
	RoundRobin Strategy = "round_robin"
	// InOrder takes the first account in Config.Keys, and the others as it has no room: for a main account and spares.
	InOrder Strategy = "in_order"
)

// script returns the strategy's name in the script, empty if there is none.
func (s Strategy) script() scripts.Strategy {
	switch s {
	case Headroom:
		return scripts.Headroom
	case RoundRobin:
		return scripts.RoundRobin
	case InOrder:
		return scripts.InOrder
	}
	return ""
}
