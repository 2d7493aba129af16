// Package concurrency is a semaphore whose permits are shared by many processes through Redis.
//
//	sem, err := concurrency.NewSemaphore(rdb, "openai", 64)
//	lease, err := sem.Acquire(ctx)
//	if err != nil { … }
//	defer lease.Release()
//	call(lease.Context())
//
// A process has one session per semaphore, and one conversation with Redis, however many callers it has:
//
//	process                                        Redis: one HASH
//	┌──────────────────────────────────┐           ┌──────────────────────────┐
//	│ callers ──▶ queue ──▶ leases     │  report:  │ limit                    │
//	│    ▲      (priority,   ≤ alloc   │  held,    │ session A: alloc, wants  │
//	│    │       then FIFO)    │       │  wanted   │ session B: alloc, wants  │
//	│    └──── hand-off ◀── release    │ ────────▶ │                          │
//	│                                  │ ◀──────── │ max-min fair shares;     │
//	│ one loop: report, heartbeat      │  alloc,   │ the sum of alloc never   │
//	└──────────────────────────────────┘  share    │ exceeds the limit        │
//	               ▲                               └───────────┬──────────────┘
//	               └───────── "ask again" (a hint) ────────────┘
//
// A report says what the session has and wants now, never what it did: one that is lost is made good by the next, and
// one that comes late or twice is recognised by its number and does nothing. What Redis allocates to a session, the
// session hands on among its own callers without asking, until somebody else has less than a fair share; then it gives
// back what it has above its own as leases are released, and Redis wakes the one that gets it.
//
// A session that isn't renewed ends a TTL after its last report, and its permits go to others. The process knows that
// moment by its own monotonic clock, counted from when it sent the report, and ends its leases' contexts before. (That
// clock stands still while a whole machine is suspended: a virtual machine that is frozen for longer than the TTL may
// go on for an instant.)
//
// The limit is exceeded only after Redis has lost writes (a flush, a failover to a replica that lagged): processes put
// back what they hold with their next report, and until it has drained the sum may reach twice the limit. See Policy
// for what happens while Redis can't be reached.
package concurrency
