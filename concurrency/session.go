package concurrency

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/penstock/penstock/scripts"
)

// noShare stands for the share of a session that nobody asks to keep to one.
const noShare = math.MaxInt64

// calm is the stuck of a session that isn't kept waiting: any new waiter is worth a report.
const calm = levels

// session is what the process knows of its registration in Redis. It holds no lock and reads no clock: the semaphore
// guards it, and passes the time.
type session struct {
	cfg *config

	seq   int64     // of the last report
	alloc int64     // permits that Redis counts as ours until ends; while a report is under way, what it said we keep
	share int64     // hand nothing out above this; noShare: nobody else lacks permits
	ends  time.Time // by then every permit must be out of use; zero: no session is live in Redis
	used  int64     // permits that leases hold
	held  [levels]int64

	ceiling, version int64 // the limit that counts, as far as we know
	limit            int64 // the same, adapted
	peers            int64 // the most sessions seen active at a time

	listed  bool      // Redis may have a row of ours
	urgent  bool      // report as soon as possible
	pressed bool      // somebody else may want what we don't use
	stuck   int       // the best priority that the last answer left waiting
	sent    time.Time // when the last report was sent
	again   time.Time // when Redis said that it is worth asking again; zero: it didn't
	active  time.Time // when a lease was last granted or released
	asked   [levels]int64

	samples samples

	failures int
	retry    time.Time // no report before, after a failure
	err      error     // Redis is away, and why
}

func newSession(cfg *config) session {
	return session{
		cfg: cfg, share: noShare, ceiling: cfg.limit, limit: cfg.limit, version: cfg.version, peers: 1, stuck: calm,
	}
}

// room reports whether n more permits can be used at once.
func (s *session) room(n int64) bool {
	if !s.ends.IsZero() && s.used+n <= min(s.alloc, s.share) {
		return true
	}
	if s.err == nil {
		return false
	}
	switch s.cfg.policy {
	case FailOpen:
		return true
	case LocalShare:
		return s.used+n <= s.localShare()
	default:
		return false
	}
}

// localShare is what a process may use while Redis is away, unless its session has more.
func (s *session) localShare() int64 {
	return max(1, s.limit/max(s.peers, s.cfg.fleet))
}

// use counts n permits as used, or with a negative n as released.
func (s *session) use(n int64, level int, now time.Time) {
	s.used += n
	s.held[level] += n
	s.active = now
	s.samples.peak = max(s.samples.peak, s.used)
}

// keep returns how much of the allocation the process wants to keep.
func (s *session) keep(waiting bool, now time.Time) int64 {
	switch {
	case waiting:
		return max(s.used, min(s.alloc, s.share))
	case !s.pressed && s.share == noShare && now.Sub(s.active) < s.cfg.linger:
		return max(s.used, s.alloc)
	default:
		return s.used
	}
}

// surplus reports whether permits lie idle that somebody else wants.
func (s *session) surplus(waiting bool) bool {
	if s.share == noShare && !s.pressed {
		return false
	}
	if waiting {
		return s.alloc > max(s.used, s.share)
	}
	return s.alloc > s.used
}

// due returns when the next report should be sent; the zero time: only when something happens.
func (s *session) due(q *queue, now time.Time) time.Time {
	var at time.Time
	by := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	waiting := q.head() != nil
	if s.urgent || s.surplus(waiting) {
		by(now)
	}
	if waiting {
		by(s.sent.Add(s.cfg.poll))
		if !s.again.IsZero() {
			by(s.again)
		}
	} else {
		s.dueIdle(by, now)
	}
	if !s.samples.since.IsZero() {
		by(s.samples.due(s.cfg.adaptive, s.sent))
	}
	if s.alloc > 0 || s.used > 0 || s.err != nil {
		by(s.sent.Add(s.cfg.ttl / 3))
	}
	if !at.IsZero() && at.Before(s.retry) {
		return s.retry
	}
	return at
}

// dueIdle says by when a process without waiters gives back what it doesn't use, and leaves.
func (s *session) dueIdle(by func(time.Time), now time.Time) {
	if s.alloc > s.used {
		by(s.active.Add(s.cfg.linger))
	}
	if s.listed && s.alloc == 0 && s.used == 0 {
		by(now)
	}
}

// report makes the next report. Until its answer comes the process uses no more than the report says that it keeps.
func (s *session) report(q *queue, now time.Time) *scripts.SemaphoreReport {
	head := q.head()
	s.seq++
	s.alloc = s.keep(head != nil, now)
	s.urgent, s.sent, s.again = false, now, time.Time{}
	r := &scripts.SemaphoreReport{
		Seq: s.seq, TTL: s.cfg.ttl, Limit: s.cfg.limit, Version: s.cfg.version,
		Held: s.used, Alloc: s.alloc, Name: s.cfg.session,
	}
	if s.version > r.Version {
		r.Limit, r.Version = s.ceiling, s.version
	}
	if head != nil {
		r.Need = head.n
	}
	for l := range levels {
		r.Want[l] = min(s.held[l]+q.units[l], scripts.SemaphoreMost)
	}
	if s.cfg.adaptive != nil {
		r.Adaptive = s.samples.take(s.cfg.adaptive, s.used)
	}
	s.asked = q.units
	s.listed = true
	return r
}

// guard is how long before Redis ends the session the process ends it: enough for the clocks to drift apart in a TTL
// and for leases' contexts to be cancelled.
func (s *session) guard() time.Duration { return s.cfg.ttl / 20 }

// apply takes in the answer to the report r that was sent at the time sent. Permits count from then, since Redis can't
// have counted from earlier.
func (s *session) apply(r *scripts.SemaphoreReport, reply *scripts.SemaphoreReply, sent time.Time) {
	s.failures, s.retry, s.err = 0, time.Time{}, nil
	s.pressed = false
	s.alloc, s.share = reply.Alloc, noShare
	if reply.Share >= 0 {
		s.share = reply.Share
	}
	s.ends = sent.Add(s.cfg.ttl - s.guard())
	s.listed = r.Alloc > 0 || r.Need > 0
	if !s.listed {
		s.ends = time.Time{}
	}
	if reply.Version >= s.version { // else SetLimit overtook the report
		s.limit, s.ceiling, s.version = reply.Limit, reply.Ceiling, reply.Version
	}
	s.peers = max(s.peers, reply.Sessions)
	if reply.Again >= 0 && r.Need > 0 {
		s.again = sent.Add(reply.Again)
	}
}

// settle, after the answer's permits were handed out, notes who is left waiting: those whom Redis knows of wait for a
// message or the next poll, newcomers are worth another report at once.
func (s *session) settle(r *scripts.SemaphoreReport, q *queue) {
	s.stuck = calm
	head := q.head()
	if head == nil {
		return
	}
	var wanted int64
	for _, w := range r.Want {
		wanted += w
	}
	if r.Need > 0 && s.alloc < wanted && s.asked[head.level] > 0 {
		s.stuck = head.level
		return
	}
	s.urgent = true
}

// fail notes that a report failed. Its outcome may be unknown; the next one puts it right.
func (s *session) fail(err error, now time.Time) {
	s.failures++
	s.stuck = calm
	backoff := min(s.cfg.ttl/10, time.Second, 25*time.Millisecond<<min(s.failures, 10))
	s.retry = now.Add(backoff/2 + rand.N(backoff/2))
	s.urgent = true
	if s.failures > 1 || scripts.OutcomeOf(err) == scripts.Rejected {
		s.err = err
	}
}

// over reports whether the session's time has come.
func (s *session) over(now time.Time) bool { return !s.ends.IsZero() && !now.Before(s.ends) }

// forget ends the session: nothing of it may be used any more.
func (s *session) forget() {
	s.alloc, s.used, s.held, s.ends, s.share = 0, 0, [levels]int64{}, time.Time{}, noShare
	s.urgent = true
}
