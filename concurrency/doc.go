// Package concurrency is a semaphore whose permits are shared by many processes through Redis.
//
//	sem, err := concurrency.New(rdb, concurrency.Config{Name: "openai", Limit: 64})
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
//	               └───────── "report again" (a hint) ─────────┘
//
// A report states what the session has and wants now, not what it did. If a report is lost, the next one replaces it. If a
// report arrives late or twice, the script recognises its sequence number and ignores it.
//
// The process passes allocated permits on among its own callers without asking Redis. When another session has less than
// its fair share, the process returns what it has above its own share, as leases are released. Redis then wakes the
// session that gets those permits.
//
// # Leases
//
// A session that isn't renewed ends one SessionTTL after its last report, and its permits go to others. The process counts
// the time on its own monotonic clock, from when it sent the report, and ends its leases' contexts earlier by a twentieth
// of the SessionTTL.
//
// # Failures
//
//	event                                effect and bound
//	Redis can't be reached               leases live until the session ends; Config.Outage decides on new permits;
//	                                     a process that has never reached Redis grants none, unless it fails open
//	a process dies                       its permits are free after SessionTTL
//	a process stops longer than a TTL    its leases have ended when it continues; no permit is counted twice
//	Redis loses writes (by a flush, a    sessions keep what they have; no new permits are granted until all known
//	restart, or a failover)              sessions have reported, or for a heartbeat. A session that began within the
//	                                     writes that were lost has 250 ms to report
//	Redis' clock is set forward by more  as after lost writes; a session that has ended, but still listens, has 250 ms
//	than a TTL                           to report before its permits are granted to a process that is new
//	Redis' clock is set back             permits of a dead process are free a TTL later
//	the whole machine is suspended       its monotonic clock stands still: leases may outlive the session until
//	                                     the first report after the machine continues, at most a heartbeat
package concurrency
