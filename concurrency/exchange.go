package concurrency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock/penstock/scripts"
)

// maxAbandoned bounds the script calls that the Redis client still runs, those included whose reply was given up.
const maxAbandoned = 3

// listenFor is how long an idle process listens to messages. It is less than the time for which Redis keeps the generation:
// where that is gone although a process listens, Redis has lost it.
const listenFor = 5 * time.Minute

// maxFinalReports is how often Close tries to report that the session holds nothing.
const maxFinalReports = 3

// exchange is one report in flight.
type exchange struct {
	report *scripts.SemaphoreReport
	sent   time.Time
	until  time.Time // when the reply is given up
	result chan response
}

// response is the end of an exchange: a reply or an error.
type response struct {
	reply    *scripts.SemaphoreReply
	received time.Time
	err      error
}

// step does what is due for the semaphore. It returns when the loop must look again, or that the semaphore has ended.
func (s *Semaphore) step() (next time.Time, stop bool) {
	s.takeResponse()
	now := time.Now()
	s.mu.Lock()
	lost := s.expire(now)
	at := s.session.nextReport(&s.queue, now)
	s.watchesIdle = s.session.alloc > s.session.used
	busy, idle, begun := s.calls.Load() >= maxAbandoned, s.exchange == nil, false
	if s.closing && idle && (!s.session.registered || s.session.failures >= maxFinalReports || busy) {
		stop = true
	} else if !at.IsZero() && idle && !at.After(now) && !busy {
		s.exchange, begun = s.begin(now), true
	}
	at = s.listenUntil(s.nextStep(at, now), now)
	s.mu.Unlock()
	s.endLeases(lost, errExpired)
	if begun {
		s.send(s.exchange)
	}
	return at, stop
}

// takeResponse ends the exchange if it has a response, or if its time has passed.
func (s *Semaphore) takeResponse() {
	x := s.exchange
	if x == nil {
		return
	}
	var r response
	select {
	case r = <-x.result:
	default:
		now := time.Now()
		if now.Before(x.until) {
			return
		}
		r = response{received: now, err: fmt.Errorf("no reply within %v", s.timeout())}
	}
	s.exchange = nil
	s.finish(x, r)
}

// nextStep returns when the loop must look again: when the exchange is given up, or else when the next report is due, and
// when the session ends. The mutex is held.
func (s *Semaphore) nextStep(at time.Time, now time.Time) time.Time {
	switch {
	case s.exchange != nil:
		at = s.exchange.until
	case at.IsZero():
		at = now.Add(time.Hour)
	case s.calls.Load() >= maxAbandoned:
		at = now.Add(s.timeout())
	}
	if ends := s.session.ends; !ends.IsZero() {
		at = earlier(at, ends)
	}
	return at
}

// listenUntil stops to listen if the process has been idle for long. It returns when the loop must look again: at, or when
// that time comes. The mutex is held.
func (s *Semaphore) listenUntil(at, now time.Time) time.Time {
	if !s.listening || s.session.registered || s.exchange != nil {
		return at
	}
	until := s.session.reportedAt.Add(listenFor)
	if now.Before(until) {
		return earlier(at, until)
	}
	s.listening = false
	s.loop.listener.remove(s)
	return at
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// timeout is how long the loop waits for the reply to a report.
func (s *Semaphore) timeout() time.Duration { return min(s.cfg.SessionTTL/4, time.Second) }

// begin makes the next exchange. The report carries a deadline: when its reply is given up, or when the session ends by
// the local clock. A report that ran later would allocate permits to leases that have ended. The mutex is held.
func (s *Semaphore) begin(now time.Time) *exchange {
	x := &exchange{sent: now, until: now.Add(s.timeout()), result: make(chan response, 1)}
	latest := x.until
	if ends := s.session.ends; !ends.IsZero() && ends.Before(latest) {
		latest = ends
	}
	x.report = s.session.report(&s.queue, now)
	x.report.Session = s.id
	if deadline, known := s.clock.Server(latest); known {
		x.report.Deadline = deadline
	}
	s.stats.ScriptCalls++
	return x
}

// send runs the script on its own goroutine, because a client may wait for Redis beyond the end of the context.
func (s *Semaphore) send(x *exchange) {
	s.calls.Add(1)
	go func() {
		// The report is for all requests of the process, so it has the context of none.
		ctx, cancel := context.WithDeadline(context.Background(), x.until)
		defer cancel()
		reply, err := scripts.ReportSemaphore(ctx, s.rdb, s.cfg.Name, x.report)
		x.result <- response{reply: reply, received: time.Now(), err: err}
		s.calls.Add(-1)
		s.loop.wake(s)
	}()
}

// finish applies the response to an exchange.
func (s *Semaphore) finish(x *exchange, a response) {
	jump, suspended := s.observe(x, a)
	s.mu.Lock()
	before := s.session.err
	var lost []*Lease
	cause := errRevoked
	switch {
	case jump > 0:
		lost, cause = s.applyJump(jump, suspended, a.received), errExpired
		s.applyError(a.err, a.received)
	case a.err != nil:
		s.applyError(a.err, a.received)
	case a.reply.Revoked:
		lost = s.dropLeases()
	default:
		s.session.apply(x.report, a.reply, x.sent)
		s.applyReply(x, a.received)
	}
	after := s.session.err
	s.unlock()
	s.endLeases(lost, cause)
	h, ctx := &s.cfg.Hooks, context.Background()
	if h.ScriptCalled != nil {
		h.ScriptCalled(ctx, ScriptCall{RoundTrip: a.received.Sub(x.sent), Err: a.err})
	}
	if before == nil && after != nil && h.RedisFailed != nil {
		h.RedisFailed(ctx, after)
	}
	if before != nil && after == nil && h.RedisRecovered != nil {
		h.RedisRecovered(ctx)
	}
}

// applyReply grants what a reply allocated. The mutex is held.
func (s *Semaphore) applyReply(x *exchange, now time.Time) {
	if !s.listening && s.session.registered {
		s.listening = true
		s.loop.listener.add(s)
	}
	s.publishEnd()
	s.queue.drop(s.refuse)
	s.serve(now)
	if s.queue.tries > 0 {
		s.queue.drop(func(w *waiter) error {
			if w.try && w.afterSeq < x.report.Seq {
				return ErrFull
			}
			return nil
		})
	}
	s.session.noteWaiting(x.report, &s.queue)
}

// applyError applies the outage policy after a failed report. The mutex is held.
func (s *Semaphore) applyError(err error, now time.Time) {
	if errors.Is(err, scripts.ErrLate) {
		s.session.reportNow = true // one of the clocks was set; the reply has the new difference
	}
	s.session.fail(err, now)
	if s.session.err != nil {
		s.serve(now)
	}
	closed := s.session.failsClosed()
	s.queue.drop(func(w *waiter) error {
		switch {
		case closed:
			s.degraded = append(s.degraded, w.ctx)
			return s.session.unavailable()
		case w.try:
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		default:
			return nil
		}
	})
}

// publishEnd copies the session's end for readers that don't hold the mutex. The mutex is held.
func (s *Semaphore) publishEnd() {
	if s.session.ends.IsZero() {
		s.ends.Store(0)
		return
	}
	s.ends.Store(int64(s.session.ends.Sub(s.base)))
}
