// Package ratelimit implements rate limits that all processes with the same Redis share. It is a drop-in replacement for
// github.com/go-redis/redis_rate/v10 on the same state. It adds waiting, reservations, several limits in one atomic
// step, and one round trip for many calls.
//
//	limiter := ratelimit.NewLimiter(rdb)
//	res, err := limiter.Allow(ctx, "project:123", ratelimit.PerSecond(10))
//
// # Methods
//
//	Allow, AllowN, AllowAtMost, Peek   decide now, on one limit
//	Admit                              decides now, on several limits: all or none
//	Wait, WaitN, WaitAll               return when the call may start
//	Reserve                            books a time, to be used, cancelled or settled
//	Observe                            lowers a limit to what its provider reports
//	Reset                              gives a limit its whole burst back
//
// # How it works
//
// A limit is a GCRA. Redis holds one number per key: the theoretical arrival time (TAT), the time at which the whole
// burst is free again if no further call comes. A call of n units moves the TAT on by n emission intervals. The call
// conforms if the TAT is then at most burst intervals ahead of now.
//
//	         now              TAT      now + burst·interval
//	----------|################|.................|----------> time
//	            consumed          remaining
//
// All times are by Redis' clock. In each process, calls share script calls:
//
//	caller ─┐                          ┌─ caller
//	caller ─┤  open   ─> one script ──>┤  caller   each computes its own
//	caller ─┤  batch     call at a     ├─ caller   answer from the reply
//	caller ─┘            time          └─ caller
//
// The first call is sent at once. Calls that arrive while its script call is in flight share the next one, and equal
// calls cost Redis no more than one. The answers are the same as if the calls had come one by one, in their order. A call
// is never sent twice: if its reply is lost, it returns an error that says so, and is charged at most once.
//
// # What happens when
//
//	event                      effect                                          bound
//	-----                      ------                                          -----
//	A key's limit changes.     The TAT stays: consumption is kept as time.     In any time t, the units admitted under
//	                           Old and new limits work together.               all limits take at most t plus the
//	                                                                           longest burst.
//	Redis loses writes         Each process sends the latest state that it     The excess is at most what was admitted
//	(FLUSHALL, failover).      received, and Redis keeps the newest.           to processes that haven't called since.
//	Reset or a refund          The state counts what is given back, so it      None is undone by an older state.
//	                           differs from lost writes.
//	Reset by redis_rate        A deleted key counts as reset if INFO shows     Without INFO (the ACL lacks +info, a
//	(DEL)                      that the server has lost nothing since the      wrapped client), and after a FLUSHALL, a
//	                           process received the state: no failover,        restart, a failover or an eviction since,
//	                           restart, flush or eviction.                     the process restores the state that it holds.
//	Redis' clock is set        Limits refill by the step.                      One more burst per limit.
//	forward.
//	Redis' clock is set        A process that used the limit before reports    Until the report arrives, calls are
//	back, or a failover        the step, and Redis moves the state back.       refused or wait too long. A step below
//	brings a slower clock.     Bookings keep their time.                       1 s isn't reported. If no process used the
//	                                                                           limit before, Reset is the remedy.
//	Redis is unavailable.      Calls are answered by Config.Outage. After      Refunds, settlements and quotas are sent
//	                           three failures in a row of a node, its calls    for a minute, later with the first call
//	                           are answered at once, except for a probe now    that reaches Redis. A caller's own deadline
//	                           and then.                                       is no failure.
//	Redis refuses a key (its   The operations on that key get the error,       The batch is halved until the refused
//	type, the ACL).            with every Config.Outage. The others of the     operation is alone. Its key is then sent
//	                           batch are served.                               apart.
//	The context ends.          The call returns at once and leaves its         A call that can end needs a runner, a
//	                           batch. What Redis grants it later is given      goroutine that waits for Redis. A lone call
//	                           back.                                           takes a quarter longer: see Config.Inline.
//	A limit isn't used.        Its state takes 60 to 120 bytes of memory in    The state is dropped within a minute after
//	                           each process, however long its key is.          the limit is at rest.
//	Cancel, Settle             As much of the charge is given back as later    The whole charge, if nothing was booked
//	                           bookings permit, in any order of Cancels.       later. Cancel has no effect on a booking
//	                                                                           that was used.
//
// # Migration from redis_rate
//
// Change the import to redis_rate "github.com/penstock/penstock/ratelimit". Processes with either library may run at the
// same time. These calls differ:
//
//	call                                         redis_rate                      this package
//	----                                         ----------                      ------------
//	AllowN, AllowAtMost with a cost below 0      gives units back                ErrInvalid: use Reservation.Settle
//	AllowN with a cost above 2^52                an error of Redis, or rounded   ErrInvalid
//	a rate or a period of 0 or less              admits too much, or an error    ErrInvalid: use Unlimited
//	a burst that takes over 100 years to refill  accepted                        ErrInvalid
//	a burst of 0                                 RetryAfter of a few intervals   RetryAfter of the longest Duration
//	Reset                                        deletes the key                 counts in the key what was given back
//	NewLimiter                                   takes what has Eval and Del     takes a Client of go-redis
//	a Limiter that is copied                     works                           isn't permitted: use the pointer
package ratelimit
