// Package caller makes calls with the API keys of a pool that many processes share: it picks the key, waits for the
// limits and a permit, sends, learns from the answer, and tries again what is worth it.
//
//	Do, Transport ─► cost of the call
//	     │
//	     ▼                        one script call for all who wait
//	┌─ attempt ─► admission ─────────────────────────────────────────► Redis: one HASH per pool
//	│                │  key, slot on every limit, permit              limits, sessions, cooldowns
//	│                ▼
//	│             send at the slot
//	│                │
//	│                ▼
//	│             verdict ─ success ─► the answer; the permit is back when it has been read
//	│                │
//	│                ├─ throttled ───► key or account cools down, for the fleet ─┐
//	│                ├─ revoked,                                                 ├─ at once, elsewhere
//	│                │  out of credit ► key or account is disabled, for the fleet┘         │
//	│                ├─ overloaded, transient ► after a backoff, Retry-After is the floor ─┤
//	│                └─ the caller's own mistake ► the error                               │
//	└──────────────────────────────────────────────────────────────────────────────────────┘
//
// A Caller is safe for concurrent use. Create one per process and pool.
package caller
