package caller

import (
	"time"

	"github.com/penstock/penstock/retry"
)

// Config describes one pool: the keys, what their provider allows, and how calls are retried. Processes with the same
// Pool and Redis share the quota; they should have the same Limits and Concurrency.
type Config struct {
	// Pool names the shared state in Redis. Required.
	Pool string
	// Keys are the API keys to rotate over. At least one is required.
	Keys []Key
	// Limits are what the provider allows each account. None: calls are limited by Concurrency alone.
	Limits []Limit
	// Concurrency is how many calls each account may have in flight over all processes. Defaults to 0: no limit.
	Concurrency int
	// Profile says what the provider's requests and answers mean. Defaults to the HTTP standard: bearer tokens, status
	// codes and Retry-After.
	Profile Profile
	// Retry bounds and spaces the attempts of a call. The zero Policy has the defaults of package retry.
	Retry retry.Policy
	// Slack is how much longer than another one call may take from its admission to the provider's counter. Limits
	// keep their promise at the provider up to this much jitter; a window W loses Slack/(W+Slack) of its quota to it.
	// Defaults to 100 ms.
	Slack time.Duration
	// Horizon is how far ahead of now a call's place may be booked. It should exceed a round trip to Redis, and what a
	// busy process is late by. Defaults to 100 ms.
	Horizon time.Duration
	// TTL is how long the permits of a process that died stay taken, and the heartbeat's scale (a third of it).
	// Defaults to 10 s; at least 1 s.
	TTL time.Duration
	// Session names this process to whoever looks at the pool. Defaults to host name and process number.
	Session string
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
}
