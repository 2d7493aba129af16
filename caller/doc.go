// Package caller makes calls with the API keys of a pool that many processes share. It picks the key, waits for the limits
// and a permit, sends, judges the response, and retries what is worth it.
//
//	Do, Transport ─► cost of the call
//	     │
//	     ▼                        one script call for all that wait
//	┌─ attempt ─► admission ─────────────────────────────────────────► Redis: one HASH per pool
//	│                │  key, send time by every limit, permit          limits, sessions, cooldowns
//	│                ▼
//	│             send at the send time
//	│                │
//	│                ▼
//	│             verdict ─ success ─► the response; reading it to its end returns the permit
//	│                │
//	│                ├─ throttled ───► key or account cools down, for all processes ─┐
//	│                ├─ key rejected,                                                ├─ at once, with another key
//	│                │  out of credit ► key or account is disabled, for all processes┘         │
//	│                ├─ overloaded, transient ► after a backoff, Retry-After is the floor ─────┤
//	│                └─ client error ► the error                                               │
//	└──────────────────────────────────────────────────────────────────────────────────────────┘
//
// A call runs through wrappers, of which each is there only where it is configured or used:
//
//	Fallback( Dedup( Retry( Hedge( Breaker( attempt )))))
//
//	Fallback   the next route, if one fails                      Fallback, FallbackTransport
//	Dedup      one call for equal calls at the same time         Options.DedupKey
//	Retry      the next attempt, if another can help             Config.Retry
//	Hedge      a second request, if the first is slow            Config.Hedge
//	Breaker    another key, if a key's circuit is open           Config.Breaker
//	attempt    acquires a grant, sends, judges, and reports what the result says about the key
//
// Admission is a package of its own, caller/internal/admission. This package has what that doesn't know: providers, HTTP,
// secrets and retries.
//
// A Pool is safe for concurrent use. Create one per process and pool.
package caller
