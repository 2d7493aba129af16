// Package admission admits the calls of one process to a pool: it holds the queue of waiters and has one conversation
// with Redis, which all calls share.
//
//	Acquire ─► queue ─► batch ─┐                                    ┌─► grant ─► sleep until the send time ─► the call
//	                           │ compose   script call              │
//	Settle, Feedback ─► outbox ┼─────────► exchange ─► Redis ─► reply ─► refusal
//	                           │                         │          │
//	Release ─► permits ────────┘                       error        └─► next ask ─► agenda ─► the loop
//	                                                     │
//	                                                     └─► outbox, recovery, backoff
//
// It deals with accounts, limits, permits, sessions and Redis. HTTP, secrets, providers, verdicts, retries and hedging are
// package caller's, which hands on what they mean as plain data: Config, Request, Block, Feedback.
//
// # The loop
//
// One goroutine, run in loop.go, makes at most one script call at a time. Its states:
//
//	idle       no reason to call Redis is due at any time; no timer
//	scheduled  a timer runs to the earliest reason, or to the end of a backoff
//	lingering  a reason is due; the loop yields so that goroutines just woken can join the batch
//	calling    one script call is in flight; arrivals gather for the next
//	stopped    drained after Close
//
// The reasons (agenda.go) are derived from the parts each time, so that none is left over:
//
//	admit      calls wait: at once, or at nextAsk while the queue waits for a time or a permit
//	deliver    a cooldown, a block or an operator's order is in the outbox: at once
//	settle     another report is in the outbox: 20 ms after the oldest
//	sample     an account has samples: at the end of its window, after an overload at a tenth of it
//	release    permits were released that Redis still counts: at once if other sessions wait, else after 20 ms
//	withdraw   Redis counts waiters, and the queue is empty: 20 ms after the last call
//	heartbeat  Redis counts permits or waiters: a third of the TTL after the last call
//	leave      the controller is draining, and no call is in flight: at once
//
// What happens on an event:
//
//	enqueue            refused if draining or full, else the call joins the queue. The queue is asked for at once if the call
//	                   is the first of its model group to be served, or can't wait for nextAsk
//	message, release   a queue that waits for a permit is asked for at once
//	SetAccounts,       the queue is asked for at once
//	  Block, Unblock
//	reply              facts are confirmed, grants dispatched, waiters refused that can't be admitted, the next ask planned
//	error              what the call carried is due again after a backoff; waiters wait on. If Redis rejected the call, they
//	                   are refused. If Redis has lost writes, the next call restores them at once
//	Close              waiters are refused; the loop stops when Redis has every permit back, or after three failures
//
// # Who may lock
//
// The methods in controller.go take the Controller's lock; no other file does. Three files run without it, because they
// wait: acquire.go sleeps until a send time (its enqueue alone runs under the lock), loop.go sleeps between script calls,
// exchange.go waits for a reply (its newExchange alone runs under the lock). Everything else expects the lock to be held.
// Waiters and the loop are woken after it is free.
//
// Shadow has locks of its own, which are taken before the Controller's and never after.
//
// agenda, queue, batch, permits, outbox, recovery, topology, model_group, samples, ramp and quota are pure: they hold no lock,
// start no goroutine and read no clock, but are handed the time.
package admission
