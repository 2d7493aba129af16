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
// Admission is a package of its own, caller/internal/admission. This package has what that doesn't know: providers, HTTP,
// secrets and retries.
//
// A Pool is safe for concurrent use. Create one per process and pool.
package caller
