package caller

import (
	"context"
	"net/http"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
	"github.com/penstock/penstock/concurrency"
	"github.com/penstock/penstock/retry"
)

// Config describes a pool: its keys, the provider's limits, and how calls are made. Processes with the same Name and Redis
// share the quota. They need the same Limits and Concurrency.
type Config struct {
	// Name names the shared state in Redis. Required.
	Name string
	// Keys are the API keys that calls are made with. At least one.
	Keys []Key
	// Accounts are what the provider counts, where that differs: places, models, limits. Keys name their account, and an
	// account that isn't listed is as for all. Their order is that of FirstAvailable. Defaults to none.
	Accounts []Account
	// BaseURL is the part of the URLs of requests that Account.BaseURL takes the place of. Defaults to scheme and host, and
	// a version at the beginning of the path if Account.BaseURL ends in one.
	BaseURL string
	// Limits are the provider's limits. Defaults to none: Concurrency alone limits calls.
	Limits []Limit
	// Concurrency is the number of calls of all processes that each account may have in flight. At least 0. Defaults to 0:
	// no limit.
	Concurrency int
	// Adaptive makes the limit on calls in flight follow the results of calls, for each account, between Adaptive.Min and
	// Concurrency (see concurrency.Adaptive). An attempt that is throttled, overloaded or times out lowers it. It begins at
	// the number of requests that the provider would take (x-ratelimit-remaining), else at Adaptive.Initial. Defaults to
	// nil: the limit is Concurrency.
	Adaptive *concurrency.Adaptive
	// RampUp is the time in which the pace of all limits but Daily ones grows evenly from a tenth to the whole, for providers that
	// refuse a sharp rise. It begins with the pool's first call in any process, and again with the first call after no process has
	// called for 15 minutes. A loss of Redis' state ends it. At least 0. Defaults to 0: the whole pace at once.
	RampUp time.Duration
	// Tenants share the pool inside the service (see Tenant). All processes need the same ones. Defaults to none: calls are
	// served by priority and arrival alone.
	Tenants []Tenant
	// Profile says what the provider's requests and responses mean. Defaults to the HTTP standard: bearer tokens, status
	// codes and Retry-After.
	Profile Profile

	// Strategy says which of the accounts that can serve a call gets it. If none can now, the first that can gets it.
	// Defaults to LeastLoaded.
	Strategy Strategy
	// Retry bounds and spaces the attempts of a call. The zero Policy has the defaults of package retry. Its Budget bounds
	// retries to a share of first attempts in this process; share one among all Pools of a provider. Defaults to none.
	Retry retry.Policy
	// Timeout bounds a call, waits and attempts together, until its result; with Transport, until the response is judged. A
	// call whose send time is later is refused at once. Throttling is waited out within it. Negative: the context alone
	// bounds the call. Defaults to DefaultTimeout, 10 minutes, for a call whose context has no deadline; that call isn't
	// refused in advance.
	Timeout time.Duration
	// AttemptTimeout bounds an attempt, from sending to its result; with Transport, until the response is judged, of which it
	// may read the beginning. An attempt that takes longer is a transient failure. At least 0. Defaults to 0: no bound.
	AttemptTimeout time.Duration
	// IdleTimeout is the longest time without a byte of a response's body, while it is read. The attempt ends then, the read
	// returns an error that is ErrIdleTimeout, and the permit is released. Below 0: no bound. Defaults to 0: 2 minutes.
	IdleTimeout time.Duration
	// IgnoreKeepAlives makes IdleTimeout count comments and blank lines of a stream, which providers send while they compute,
	// as nothing. Defaults to false: they are bytes as others.
	IgnoreKeepAlives bool
	// MaxHold is the longest time for which an attempt may hold its permit, from sending to the end of the response's body. The
	// attempt ends then with ErrMaxHold. At least 0. Defaults to 0: no bound.
	MaxHold time.Duration
	// Whole makes the whole response part of the attempt in every call of a Transport, as Options.Whole does for one. Defaults
	// to false.
	Whole bool
	// IdempotencyKeys gives each call an idempotency key, the same for all its attempts. Transport sends it in the header
	// Idempotency-Key of requests that aren't idempotent (see IsIdempotent), Do sets Grant.IdempotencyKey. Such calls are
	// retried even if they may have been carried out, so the provider must support the key. Defaults to false.
	IdempotencyKeys bool

	// Breaker keeps calls of this process from an endpoint that fails repeatedly. Defaults to off.
	Breaker Breaker
	// Hedge sends a second request if the first is slow. Defaults to off.
	Hedge Hedge

	// Shadow counts and reports everything, and lets nothing wait or be refused: for trying limits on a live service. Each call
	// is sent at once, with keys in turn. What would have become of it is worked out in the background: Hooks.Admitted and
	// Hooks.Refused are called with Shadow set, and Stats.AdmissionWait, CallsRefused, Charged and BlockedBy count it. The pool's
	// name becomes Name followed by ".shadow", so that no other pool's quota is used, and while Redis is away calls go on.
	// Cooldowns and disabled keys are reported to hooks alone, and Breaker is off. Retries, timeouts and hedging work. Waits are
	// longer than without Shadow where callers send less while they wait. Defaults to false.
	Shadow bool

	// Hooks observe what happens. Optional.
	Hooks Hooks
	// Tuning has the settings that most pools leave alone. The zero Tuning has all defaults.
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
	// MaxRejection is the longest time for which a key that the provider rejects isn't used. It begins at 2 s and doubles while
	// tests of the key fail. Defaults to an hour.
	MaxRejection time.Duration
	// ContinueOnLeaseLoss lets calls in flight go on when Redis could not be reached for SessionTTL. Other processes may get
	// their permits then, so Concurrency can be exceeded. Defaults to false: the contexts of these calls end with ErrLeaseLost.
	ContinueOnLeaseLoss bool
}

// Key is one API key.
type Key struct {
	// ID names the key in Redis, metrics and errors. Required, unique in the pool, and never the secret.
	ID string
	// Secret authorises requests. It leaves the process in requests alone. Required without Authorize.
	Secret Secret
	// Authorize adds the key's credentials to a request that Transport sends, such as an OAuth token or a signature, in place
	// of Profile.Authorize. The request has its final URL, and GetBody returns its final body. ctx is the attempt's.
	// Authorize is called for each attempt, so it caches what it fetches. If it fails, nothing is sent, the key is taken out
	// of use as if the provider had rejected it, and the call goes on with another key. Defaults to Profile.Authorize.
	Authorize func(ctx context.Context, r *http.Request) error `json:"-"`
	// Account names what the provider counts: keys of one account share its limits. Defaults to the ID.
	Account string
	// Weight is the key's share of calls under LeastLoaded and RoundRobin. An account has the highest weight of its keys. At
	// least 0. Defaults to 0: a weight of 1.
	Weight int
}

// Strategy says which of the accounts that can serve a call gets it.
type Strategy string

// Values of Strategy.
const (
	// LeastLoaded takes the account with the longest time since it became ready, times its weight. The default.
	LeastLoaded Strategy = "least_loaded"
	// RoundRobin takes accounts in turn, by weight.
	RoundRobin Strategy = "round_robin"
	// FirstAvailable takes the first account in Config.Accounts, and then in Config.Keys, that has room: for a main account and spares.
	FirstAvailable Strategy = "first_available"
)

// known reports whether s is one of the values. The script has the same names.
func (s Strategy) known() bool {
	switch admission.Strategy(s) {
	case admission.LeastLoaded, admission.RoundRobin, admission.FirstAvailable:
		return true
	}
	return false
}
