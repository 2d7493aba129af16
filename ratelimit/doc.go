// Package ratelimit limits how often things happen, over all the processes that share a Redis: a drop-in for
// github.com/go-redis/redis_rate/v10 on the same state, with waiting, reservations, several limits in one step, and
// many calls in one round trip.
//
//	limiter := ratelimit.NewLimiter(rdb)
//	res, err := limiter.Allow(ctx, "project:123", ratelimit.PerSecond(10))
//
// # Ways in
//
//	Allow, AllowN, AllowAtMost, Peek   now or not; one limit
//	Admit                              now or not; several limits, all or none
//	Wait, WaitN, WaitAll               return when it is time
//	Reserve                            a place in time, to be used, cancelled or settled
//	Observe                            what the provider says
//	Reset                              as good as new
//
// # How it works
//
// A limit is a GCRA: Redis holds one number per key, the theoretical arrival time (TAT), at which the limit would be
// at rest if nobody came any more. A call of n units moves it on by n emission intervals; it conforms if the TAT is
// then at most a burst's worth ahead of now.
//
//	         now              TAT      now + burst·interval
//	----------|################|.................|----------> time
//	            consumed          remaining
//
// Redis' clock is the only one that counts. In each process calls go to Redis together:
//
//	caller ─┐                          ┌─ caller
//	caller ─┤  open   ─> one script ──>┤  caller   each works out its own
//	caller ─┤  batch     call at a     ├─ caller   answer from the batch's
//	caller ─┘            time          └─ caller
//
// The first caller goes at once. Those that come while its script call is under way share the next one; equal ones
// among them cost Redis no more than one. The answers are as if they had come one by one, in their order. A call is
// never sent twice: after a lost reply it is an error that says so, and charged at most once.
//
// # What happens when
//
// The limit of a key changes: what was consumed is kept as time. A TAT that is two seconds ahead stays so, and the new
// limit reckons with it: two seconds of its own units are taken. Old and new limits may be in use at the same time; each
// call conforms to its own, and what is admitted in any time t takes at most t plus the longest burst, each unit being
// counted as the interval that it was admitted at.
//
// Redis loses writes, by FLUSHALL or a failover: every process remembers the limits that it used until they are at
// rest, and sends what it knows along with its next call; Redis takes the latest state. So what is admitted in excess is
// at most what only processes that don't call any more, or haven't called again yet, had been admitted. Reset and
// refunds are counted in the state, so that what they have ended isn't taken for lost; the state of redis_rate doesn't
// have that count, so its Reset, which deletes the key, doesn't impress processes that remember.
//
// Redis' clock is set: forward, a limit's burst may be used once more. Back, or a failover brings a clock that is behind:
// what was charged would seem to lie ahead by as much, and nobody be admitted for so long. A process that used the limit
// before, and its next call, put that right for all; what others are answered until then is a refusal or a place too
// late. Steps of less than a second are waited for. Places that are booked already keep their time. (If no process knows
// the limit from before the step, nothing tells it from places booked far ahead: Reset helps, or time.)
//
// Redis is away: Config.Outage says what calls are answered then. After three failures in a row calls don't try any more,
// but for one now and then. What is cancelled, settled and observed meanwhile goes to Redis when it is back: it is tried
// for a minute, and after that with the next call.
//
// The context ends: the call returns at once and leaves its batch. What Redis grants it all the same goes back. So
// someone else has to wait for Redis in place of a call that can end: one of a few goroutines, which are gone some
// milliseconds after the last call. A lone call to a Redis nearby takes a quarter longer for it; see Config.Inline.
//
// A call is given back, by Cancel or Settle: as much of it as is safe. A limit stands for one number, and giving back a
// place in the middle of booked ones would let the next call come too close to them.
package ratelimit
