package concurrency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock/penstock/scripts"
)

// The loop is the process's one conversation with Redis about the semaphore: it sends one report at a time, hands out
// what the answer gives, and sleeps until the next is due. Callers that come meanwhile are served from what the
// process has, or wait for the next report together.

// abandoned is how many calls may be under way whose answer nobody waits for any more.
const abandoned = 3

// farewells is how often the last report is tried.
const farewells = 3

// call is one report under way.
type call struct {
	report *scripts.SemaphoreReport
	sent   time.Time
	until  time.Time // the answer is given up
	result chan answer
}

type answer struct {
	reply    *scripts.SemaphoreReply
	received time.Time
	err      error
}

// wakeLoop makes the loop look at the state, and starts it the first time. The mutex is held.
func (s *Semaphore) wakeLoop() {
	if !s.started {
		s.started = true
		go s.run()
	}
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *Semaphore) run() {
	defer close(s.done)
	// The session outlives every caller, and ends with Close
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go s.listen(ctx) // not here: to subscribe is to connect
	timer := time.NewTimer(0)
	defer timer.Stop()
	var c *call
	for {
		var answered chan answer
		next, stop := s.step(ctx, &c)
		if stop {
			return
		}
		if c != nil {
			answered = c.result
		}
		timer.Reset(next)
		select {
		case <-s.kick:
		case <-timer.C:
		case a := <-answered:
			s.finish(c, a)
			c = nil
		}
	}
}

// step does what is due and returns how long nothing else will be.
func (s *Semaphore) step(ctx context.Context, c **call) (next time.Duration, stop bool) {
	now := time.Now()
	if *c != nil && !now.Before((*c).until) {
		s.finish(*c, answer{received: now, err: fmt.Errorf("no answer within %v", s.timeout())})
		*c = nil
	}
	s.mu.Lock()
	lost := s.lapse(now)
	at := s.session.due(&s.queue, now)
	s.relaxed = s.session.alloc > s.session.used
	busy, begun := s.calls.Load() >= abandoned, false
	if s.closing && *c == nil && (!s.session.listed || s.session.failures >= farewells || busy) {
		stop = true
	} else if !at.IsZero() && *c == nil && !at.After(now) && !busy {
		*c, begun = s.begin(now), true
	}
	at = s.horizon(at, *c, now)
	s.mu.Unlock()
	s.lose(lost, errExpired)
	if begun { // not by its time, which two steps may have in common
		s.send(ctx, *c)
	}
	return max(at.Sub(now), 0), stop
}

// horizon returns when the loop must look again: at the end of the call under way, or else when the next report is
// due, and at the session's end. The mutex is held.
func (s *Semaphore) horizon(at time.Time, c *call, now time.Time) time.Time {
	switch {
	case c != nil:
		at = c.until
	case at.IsZero():
		at = now.Add(time.Hour)
	case s.calls.Load() >= abandoned:
		at = now.Add(s.timeout())
	}
	if ends := s.session.ends; !ends.IsZero() && ends.Before(at) {
		at = ends
	}
	return at
}

// timeout is how long the answer to a report is waited for.
func (s *Semaphore) timeout() time.Duration { return min(s.cfg.ttl/4, time.Second) }

// begin makes the next report. Redis does nothing with it once its answer is given up, or once the session, by the
// local clock, is over: a report that comes late would take permits for leases that have ended. The mutex is held.
func (s *Semaphore) begin(now time.Time) *call {
	c := &call{sent: now, until: now.Add(s.timeout()), result: make(chan answer, 1)}
	latest := c.until
	if ends := s.session.ends; !ends.IsZero() && ends.Before(latest) {
		latest = ends
	}
	c.report = s.session.report(&s.queue, now)
	c.report.Session = s.id
	if deadline, known := s.clock.Server(latest); known {
		c.report.Deadline = deadline
	}
	s.stats.Calls++
	return c
}

// send runs the script on a goroutine of its own, since a client may wait longer for Redis than the context lasts.
func (s *Semaphore) send(ctx context.Context, c *call) {
	s.calls.Add(1)
	go func() {
		defer s.calls.Add(-1)
		ctx, cancel := context.WithDeadline(ctx, c.until)
		defer cancel()
		reply, err := scripts.ReportSemaphore(ctx, s.rdb, s.name, c.report)
		c.result <- answer{reply: reply, received: time.Now(), err: err}
	}()
}

// finish takes in an answer.
func (s *Semaphore) finish(c *call, a answer) {
	if a.reply != nil {
		s.clock.Observe(c.sent, a.received, a.reply.Now)
	}
	s.mu.Lock()
	before := s.session.err
	var lost []*Lease
	switch {
	case a.err != nil:
		s.failed(a.err, a.received)
	case a.reply.Revoked:
		lost = s.forfeit()
	default:
		s.session.apply(c.report, a.reply, c.sent)
		s.answered(c, a.received)
	}
	after := s.session.err
	s.mu.Unlock()
	s.lose(lost, errRevoked)
	if s.cfg.hooks.Away != nil && (before == nil) != (after == nil) {
		s.cfg.hooks.Away(after)
	}
}

// answered hands out what an answer gave. The mutex is held.
func (s *Semaphore) answered(c *call, now time.Time) {
	s.publishEnd()
	s.queue.drop(s.refuse)
	s.serve(now)
	if s.queue.tries > 0 {
		s.queue.drop(func(w *waiter) error {
			if w.try && w.asked < c.report.Seq {
				return ErrFull
			}
			return nil
		})
	}
	s.session.settle(c.report, &s.queue)
}

// failed applies the policy after a report that failed. The mutex is held.
func (s *Semaphore) failed(err error, now time.Time) {
	if errors.Is(err, scripts.ErrLate) {
		s.session.urgent = true // the clocks were set; they are known now
	}
	s.session.fail(err, now)
	if s.session.err != nil {
		s.serve(now)
	}
	closed := s.session.err != nil && s.cfg.policy == FailClosed
	s.queue.drop(func(w *waiter) error {
		if closed || w.try {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return nil
	})
}

// publishEnd copies the session's end for whoever doesn't hold the mutex. The mutex is held.
func (s *Semaphore) publishEnd() {
	if s.session.ends.IsZero() {
		s.ends.Store(0)
		return
	}
	s.ends.Store(int64(s.session.ends.Sub(s.base)))
}
