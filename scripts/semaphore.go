package scripts

import (
	"context"
	_ "embed"
	"fmt"
	"time"
)

//go:embed fair_share.lua
var fairShareLua string

//go:embed semaphore_adaptive.lua
var semaphoreAdaptiveLua string

//go:embed semaphore_sessions.lua
var semaphoreSessionsLua string

//go:embed semaphore_loss.lua
var semaphoreLossLua string

//go:embed semaphore_state.lua
var semaphoreStateLua string

//go:embed semaphore.lua
var semaphoreLua string

var semaphoreScript = newSemaphoreScript("semaphore", semaphoreLua)

func newSemaphoreScript(name, source string) *script {
	return newScript(name, coreLua, fairShareLua, semaphoreAdaptiveLua, semaphoreSessionsLua, semaphoreLossLua, semaphoreStateLua,
		source)
}

// SemaphoreMost is the largest number of permits that a semaphore can have, and a session wait for.
const SemaphoreMost = 1<<24 - 1

// SemaphoreKey is the HASH that holds all the state of the semaphore. It is also the Pub/Sub channel on which all its
// sessions are notified that a report may get more.
func SemaphoreKey(name string) string { return "penstock:semaphore:{" + wireName(name) + "}" }

// SemaphoreChannel is the Pub/Sub channel on which one session is notified that a report may get more.
func SemaphoreChannel(name, session string) string {
	return SemaphoreKey(name) + ":" + wireName(session)
}

// SemaphoreReport is the state of a session: what it has and wants of a semaphore. No number is negative or above SemaphoreMost.
type SemaphoreReport struct {
	Session  string
	Seq      int64              // grows with every report of the session
	TTL      time.Duration      // until the session ends unless it reports again; whole milliseconds
	Deadline int64              // do nothing after this time, in microseconds since 2017; 0: none
	Limit    int64              // permits, as this process is configured
	Version  int64              // of Limit; 0: none
	Held     int64              // permits that leases hold
	Alloc    int64              // permits of its allocation that the session wants to keep, at least Held
	Need     int64              // size of the next request; 0: none waits
	Want     [3]int64           // permits that it could use, held ones included, by priority: high, normal, low
	Name     string             // for people
	Expected SemaphoreVersion   // of the state that the session has seen; zero: none
	Adaptive *SemaphoreAdaptive // nil: this process doesn't adapt the limit
	Now      int64              // for tests: the time, in microseconds since 2017; 0: Redis' own
}

// SemaphoreVersion identifies the state that a reply came from, so that a later report finds out whether some of it is lost.
type SemaphoreVersion struct {
	Generation int64 // when the state began, or when the last loss of writes was found; 0: there is none
	Version    int64 // grows with every write
	Seq        int64 // of the report if it left permits or waiters of the session, else 0
	Sessions   int64 // that held permits or waited
}

// SemaphoreAdaptive is how the limit adapts, and the samples since the session's last report.
type SemaphoreAdaptive struct {
	Gradient  bool          // follow latency too, not just overloads
	Min       int64         // permits that the limit never goes below
	Initial   int64         // first permits
	Backoff   float64       // factor by which an overload lowers it, between 0 and 1
	Every     time.Duration // a window, and at least from one decrease to the next
	Tolerance float64       // latency that is still normal, as a factor of the baseline, at least 1
	Smoothing float64       // part of a change that takes effect at once, above 0 and at most 1
	Queue     float64       // permits above what latency suggests, to probe for more
	OK        int64         // successes
	Dropped   int64         // overloads
	Total     time.Duration // the sum of the successes' latencies
	Peak      int64         // the most permits that leases held at a time
}

// SemaphoreReply is the script's reply to a report.
type SemaphoreReply struct {
	Now      int64            // Redis' time, in microseconds since 2017
	Revoked  bool             // the session's permits are taken back; it must stop using them and report none
	Alloc    int64            // permits that the session has now, until its end
	Share    int64            // its fair share, if some session has less than its share; else -1
	Again    time.Duration    // until another report may get what is lacking; negative: a poll or a message tells
	Limit    int64            // permits in force
	Ceiling  int64            // the configured limit in force
	Version  int64            // of Ceiling
	Sessions int64            // that hold or wait, this one included
	State    SemaphoreVersion // of the state as it is now; zero if Revoked
}

// Statuses of a reply.
const (
	semaphoreDone = iota
	semaphoreRevoked
	semaphoreLate
	semaphoreStale
)

const semaphoreFields = 11

// ReportSemaphore reports a session and gets its allocation. The script runs at most once. With ErrLate and ErrStale
// it did nothing, and the reply has Now alone; with any other error there is no reply, see Error.
func ReportSemaphore(ctx context.Context, c Client, name string, r *SemaphoreReport) (*SemaphoreReply, error) {
	keys := []string{SemaphoreKey(name)}
	v, err := semaphoreScript.run(ctx, c, keys, r.args())
	if err != nil {
		return nil, err
	}
	n, err := integers(v, semaphoreFields)
	if err != nil {
		return nil, newError(semaphoreScript.name, keys, err)
	}
	reply := &SemaphoreReply{Now: n[1]}
	switch n[0] {
	case semaphoreLate:
		return reply, newError(semaphoreScript.name, keys, ErrLate)
	case semaphoreStale:
		return reply, newError(semaphoreScript.name, keys, ErrStale)
	}
	reply.Revoked = n[0] == semaphoreRevoked
	reply.Alloc, reply.Share, reply.Again = n[2], n[3], time.Duration(n[4])*time.Millisecond
	reply.Limit, reply.Ceiling, reply.Version, reply.Sessions = n[5], n[6], n[7], n[8]
	if reply.Revoked {
		return reply, nil
	}
	reply.State = SemaphoreVersion{Generation: n[9], Version: n[10], Sessions: reply.Sessions}
	if r.Alloc > 0 || r.Want != [3]int64{} {
		reply.State.Seq = r.Seq
	}
	return reply, nil
}

func (r *SemaphoreReport) args() []any {
	args := []any{
		override(r.Now), seconds(r.Deadline), wireName(r.Session), r.Seq, r.TTL.Milliseconds(), r.Limit, r.Version,
		r.Held, r.Alloc, r.Need, r.Want[0], r.Want[1], r.Want[2], r.Name,
		r.Expected.Generation, r.Expected.Version, r.Expected.Seq, r.Expected.Sessions,
	}
	a := r.Adaptive
	if a == nil {
		return append(args, "")
	}
	kind := "aimd"
	if a.Gradient {
		kind = "gradient"
	}
	return append(args, kind, a.Min, a.Initial, a.Backoff, a.Every.Microseconds(), a.Tolerance, a.Smoothing, a.Queue,
		a.OK, a.Dropped, a.Total.Microseconds(), a.Peak)
}

// override writes a test's time, in microseconds since 2017; empty text stands for Redis' own.
func override(now int64) string {
	if now == 0 {
		return ""
	}
	return seconds(now)
}

// integers decodes a reply of n integers.
func integers(v any, n int) ([]int64, error) {
	r, ok := v.([]any)
	if !ok || len(r) != n {
		return nil, fmt.Errorf("unexpected reply %v", v)
	}
	out := make([]int64, n)
	for i, x := range r {
		if out[i], ok = x.(int64); !ok {
			return nil, fmt.Errorf("unexpected reply: element %d is %v", i, x)
		}
	}
	return out, nil
}
