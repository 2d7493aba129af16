package concurrency

import (
	"errors"
	"time"

	"github.com/penstock/penstock/scripts"
)

// A report has a deadline by Redis' clock. If that clock was set forward, or if this machine was suspended, the first report
// after it is late and changes nothing, but its reply has Redis' time. The process then knows of the jump before any session
// is counted by the new time.

// lastReply is when the last reply came, by both clocks.
type lastReply struct {
	sent time.Time
	now  int64 // Redis' time, in microseconds since 2017
}

// observe takes in Redis' time from a reply. If a late report shows that Redis' clock has jumped ahead of the local one, it
// returns by how much at least, and whether the local wall clock jumped likewise: this machine was suspended.
func (s *Semaphore) observe(x *exchange, a response) (jump time.Duration, suspended bool) {
	if a.reply == nil {
		return 0, false
	}
	s.clock.Observe(x.sent, a.received, a.reply.Now)
	last := s.lastReply
	s.lastReply = lastReply{sent: x.sent, now: a.reply.Now}
	if last.now == 0 || !errors.Is(a.err, scripts.ErrLate) {
		return 0, false
	}
	local := a.received.Sub(last.sent)
	drift := local / 1000
	jump = time.Duration(a.reply.Now-last.now)*time.Microsecond - local - drift
	if jump < s.session.guard() {
		return 0, false
	}
	wall := a.received.Round(0).Sub(last.sent.Round(0)) - local
	return jump, wall > jump/2
}

// applyJump handles a jump of Redis' clock. After a suspension, Redis has ended the session if it should have ended
// meanwhile, so its leases are lost. If Redis' clock was set forward, it has ended the sessions of live processes, too. So the
// process asks for no new permits until each of them has had a heartbeat to report what it holds. The mutex is held.
func (s *Semaphore) applyJump(jump time.Duration, suspended bool, now time.Time) []*Lease {
	ends := s.session.ends
	if !suspended {
		s.session.claimFrom = now.Add(s.cfg.SessionTTL/3 + s.timeout())
		return nil
	}
	if ends.IsZero() || now.Add(jump).Before(ends) {
		return nil
	}
	return s.dropLeases()
}
