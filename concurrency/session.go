package concurrency

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/penstock/penstock/scripts"
)

// noShare is the share of a session that may use its whole allocation: no other session has less than its fair share.
const noShare = math.MaxInt64

// noneWaiting is the waitingPriority of a session without waiters that Redis knows of: each new waiter is worth a report.
const noneWaiting = levels

// session is the process's view of its registration in Redis. It holds no lock and reads no clock: the semaphore's mutex
// guards it, and its methods are handed the time.
type session struct {
	cfg *Config

	seq   int64     // of the last report
	alloc int64     // permits that Redis allocates to the session until ends; during a report, those that it keeps
	share int64     // grant nothing above this; noShare: no bound
	ends  time.Time // no permit may be in use from then on; zero: Redis has no session
	used  int64     // permits that leases hold
	held  [levels]int64

	ceiling, version int64 // the configured limit that counts, as of the last reply
	limit            int64 // the same, adapted
	maxSessions      int64 // the highest number of sessions seen

	registered      bool      // Redis may have a row of the session
	reached         bool      // a report has succeeded, so maxSessions is known
	reportNow       bool      // a report is due at once
	demandRose      bool      // a report is due while a request waits: Redis doesn't count it, or not at its priority
	demandFell      bool      // a waiter that Redis knows of has left the queue without its permits
	contended       bool      // some session has less than its share, so unused permits must be returned at once
	waitingPriority int       // highest priority (lowest level) with waiters after the last reply; noneWaiting: none
	reportedAt      time.Time // when the last report was sent
	askAt           time.Time // when Redis expects permits for the waiters; zero: unknown
	usedAt          time.Time // when a lease was last granted or released
	reportedUnits   [levels]int64
	reportedNeed    bool // Redis sets permits aside for a waiter of the last report

	known   scripts.SemaphoreVersion // of the state that the last reply came from
	samples samples

	claimFrom time.Time // no new permits are asked for before, because Redis' clock was set forward

	failures int       // reports that failed since the last reply
	retryAt  time.Time // no report before this time, after a failure
	err      error     // why Redis counts as away; nil: it doesn't
}

func newSession(cfg *Config) session {
	limit := int64(cfg.Limit)
	return session{
		cfg: cfg, share: noShare, ceiling: limit, limit: limit, version: cfg.LimitVersion, maxSessions: 1,
		waitingPriority: noneWaiting,
	}
}

// fits reports whether the allocation has room for n more permits.
func (s *session) fits(n int64) bool {
	return !s.ends.IsZero() && s.used+n <= min(s.alloc, s.share)
}

// fitsOutage reports whether the outage policy grants n more permits while Redis is away.
func (s *session) fitsOutage(n int64) bool {
	if s.err == nil {
		return false
	}
	switch s.cfg.Outage {
	case FailOpen:
		return true
	case LocalShare:
		return s.reached && s.used+n <= s.localShare()
	default:
		return false
	}
}

// failsClosed reports whether requests are refused while Redis is away. With LocalShare they are refused until the process
// has reached Redis once: before, it doesn't know how many processes share the limit.
func (s *session) failsClosed() bool {
	return s.err != nil && (s.cfg.Outage == FailClosed || (s.cfg.Outage == LocalShare && !s.reached))
}

// unavailable describes why requests are refused while Redis is away.
func (s *session) unavailable() error {
	if s.reached {
		return fmt.Errorf("%w: %w", ErrUnavailable, s.err)
	}
	return fmt.Errorf("%w: this process has never reached it: check the address, the password and the ACL: %w",
		ErrUnavailable, s.err)
}

// localShare is the number of permits that the process may use while Redis is away and its session has no more.
func (s *session) localShare() int64 {
	return max(1, s.limit/max(s.maxSessions, int64(s.cfg.MinProcesses)))
}

// use counts n permits as used. If n is negative, it counts them as released.
func (s *session) use(n int64, level int, now time.Time) {
	s.used += n
	s.held[level] += n
	s.usedAt = now
	s.samples.peak = max(s.samples.peak, s.used)
}

// allocationToKeep returns the part of the allocation that the next report keeps.
func (s *session) allocationToKeep(waiting bool, now time.Time) int64 {
	switch {
	case waiting:
		return max(s.used, min(s.alloc, s.share))
	case !s.contended && s.share == noShare && now.Sub(s.usedAt) < s.cfg.IdleTimeout:
		return max(s.used, s.alloc)
	default:
		return s.used
	}
}

// hasSurplus reports whether the session has unused permits that another session wants.
func (s *session) hasSurplus(waiting bool) bool {
	if s.share == noShare && !s.contended {
		return false
	}
	if waiting {
		return s.alloc > max(s.used, s.share)
	}
	return s.alloc > s.used
}

// nextReport returns when the next report is due. The zero time: not until something changes.
func (s *session) nextReport(q *queue, now time.Time) time.Time {
	var at time.Time
	by := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	waiting := q.head() != nil
	if s.demandFell { // Redis sets permits aside for it; the delay bounds the reports of many waiters that leave
		by(s.reportedAt.Add(s.cfg.PollInterval / 10))
	}
	if s.dueNow(waiting) {
		by(now)
	}
	if waiting || s.reportedNeed { // if the waiters are gone, so that Redis doesn't count them any more
		by(s.reportedAt.Add(s.cfg.PollInterval))
	}
	switch {
	case !waiting:
		s.nextIdleReport(by, now)
	case !s.askAt.IsZero():
		by(s.askAt)
	}
	if !s.samples.since.IsZero() {
		by(s.samples.due(s.cfg.Adaptive, s.reportedAt))
	}
	if s.alloc > 0 || s.used > 0 || s.err != nil {
		by(s.reportedAt.Add(s.cfg.SessionTTL / 3))
	}
	if !at.IsZero() && at.Before(s.retryAt) {
		return s.retryAt
	}
	return at
}

// dueNow reports whether a report is due at once.
func (s *session) dueNow(waiting bool) bool {
	return s.reportNow || s.demandRose && waiting || s.hasSurplus(waiting)
}

// nextIdleReport adds the times at which a process without waiters returns unused permits, and removes its row.
func (s *session) nextIdleReport(by func(time.Time), now time.Time) {
	if s.alloc > s.used {
		by(s.usedAt.Add(s.cfg.IdleTimeout))
	}
	if s.registered && s.alloc == 0 && s.used == 0 {
		by(now)
	}
}

// report composes the next report. Until its reply, the process uses no more than the report keeps.
func (s *session) report(q *queue, now time.Time) *scripts.SemaphoreReport {
	head := q.head()
	s.seq++
	s.alloc = s.allocationToKeep(head != nil, now)
	s.reportNow, s.demandRose, s.demandFell, s.reportedAt, s.askAt = false, false, false, now, time.Time{}
	r := &scripts.SemaphoreReport{
		Seq: s.seq, TTL: s.cfg.SessionTTL, Limit: int64(s.cfg.Limit), Version: s.cfg.LimitVersion,
		Held: s.used, Alloc: s.alloc, Name: s.cfg.SessionName, Expected: s.known,
	}
	if s.version > r.Version {
		r.Limit, r.Version = s.ceiling, s.version
	}
	waiting := q.units
	if now.Before(s.claimFrom) {
		waiting = [levels]int64{}
	} else if head != nil {
		r.Need = head.n
	}
	for l := range levels {
		r.Want[l] = min(s.held[l]+waiting[l], scripts.SemaphoreMost)
	}
	if s.cfg.Adaptive != nil {
		r.Adaptive = s.samples.take(s.cfg.Adaptive, s.used)
	}
	if r.Alloc == 0 && r.Want == [levels]int64{} {
		s.known.Seq = 0 // from now on, the script may have removed the row
	}
	s.reportedUnits, s.reportedNeed = waiting, r.Need > 0
	s.registered = true
	return r
}

// guard is how much earlier than Redis the process ends the session. It covers the drift of two clocks within a TTL, and
// the time that cancelled calls need to end.
func (s *session) guard() time.Duration { return s.cfg.SessionTTL / 20 }

// apply takes in the reply to the report r. Redis counts the TTL from when it ran the script, so the process counts from
// sent, which is earlier.
func (s *session) apply(r *scripts.SemaphoreReport, reply *scripts.SemaphoreReply, sent time.Time) {
	s.failures, s.retryAt, s.err, s.reached = 0, time.Time{}, nil, true
	s.contended, s.known = false, reply.State
	s.alloc, s.share = reply.Alloc, noShare
	if reply.Share >= 0 && (reply.Sessions > 1 || reply.Share < reply.Alloc) { // else only this process wants more
		s.share = reply.Share
	}
	s.ends = sent.Add(s.cfg.SessionTTL - s.guard())
	s.registered = r.Alloc > 0 || r.Need > 0
	if !s.registered {
		s.ends = time.Time{}
	}
	if reply.Version >= s.version { // else SetLimit overtook the report
		s.limit, s.ceiling, s.version = reply.Limit, reply.Ceiling, reply.Version
	}
	s.maxSessions = max(s.maxSessions, reply.Sessions)
	if reply.Again >= 0 && r.Need > 0 {
		s.askAt = sent.Add(reply.Again)
	}
}

// noteWaiting records which waiters Redis counts after the grants of a reply. They wait for a message or the next poll, and
// so do later ones of their priority, also if the process itself has served the former meanwhile. Newer waiters of a higher
// priority are worth another report at once.
func (s *session) noteWaiting(r *scripts.SemaphoreReport, q *queue) {
	s.waitingPriority = noneWaiting
	if s.reportedAt.Before(s.claimFrom) {
		return
	}
	var wanted int64
	for _, w := range r.Want {
		wanted += w
	}
	counted := r.Need > 0 && s.alloc < wanted
	head := q.head()
	switch {
	case head == nil && counted:
		s.waitingPriority = slices.IndexFunc(s.reportedUnits[:], func(units int64) bool { return units > 0 })
	case head == nil:
	case counted && s.reportedUnits[head.level] > 0:
		s.waitingPriority = head.level
	default:
		s.demandRose = true
	}
}

// fail records a failed report. Its outcome may be unknown; the next report replaces it.
func (s *session) fail(err error, now time.Time) {
	s.failures++
	s.waitingPriority = noneWaiting
	backoff := min(s.cfg.SessionTTL/10, time.Second, 25*time.Millisecond<<min(s.failures, 10))
	s.retryAt = now.Add(backoff/2 + rand.N(backoff/2))
	s.reportNow = true
	if s.failures > 1 || scripts.OutcomeOf(err) == scripts.Rejected {
		s.err = err
	}
}

// ended reports whether the session has ended by the local clock.
func (s *session) ended(now time.Time) bool { return !s.ends.IsZero() && !now.Before(s.ends) }

// clear ends the session: none of its permits may be used any more.
func (s *session) clear() {
	s.alloc, s.used, s.held, s.ends, s.share = 0, 0, [levels]int64{}, time.Time{}, noShare
	s.known.Seq = 0
	s.reportNow = true
}
