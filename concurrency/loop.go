package concurrency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock/penstock/scripts"
)

// The loop is the process's one conversation with Redis about the semaphore. It sends one report at a time, grants what the
// reply allocates, and sleeps until the next report is due. Requests that arrive during a report are granted from what the
// process has, or wait together for the next report.

// maxAbandoned bounds the script calls that the Redis client still runs, those included whose reply was given up.
const maxAbandoned = 3

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

// signal makes the loop look at the state. The first signal starts the loop. The mutex is held.
func (s *Semaphore) signal() {
	if !s.started {
		s.started = true
		go s.run()
	}
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

func (s *Semaphore) run() {
	defer close(s.done)
	// The session outlives the context of every request; Close ends it.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go s.listen(ctx) // on its own goroutine, because subscribing may wait for a dial
	timer := time.NewTimer(0)
	defer timer.Stop()
	var x *exchange
	for {
		var result chan response
		next, stop := s.step(ctx, &x)
		if stop {
			return
		}
		if x != nil {
			result = x.result
		}
		timer.Reset(next)
		select {
		case <-s.wakeup:
		case <-timer.C:
		case a := <-result:
			s.finish(x, a)
			x = nil
		}
	}
}

// step does what is due, and returns for how long nothing else will be.
func (s *Semaphore) step(ctx context.Context, x **exchange) (next time.Duration, stop bool) {
	now := time.Now()
	if *x != nil && !now.Before((*x).until) {
		s.finish(*x, response{received: now, err: fmt.Errorf("no reply within %v", s.timeout())})
		*x = nil
	}
	s.mu.Lock()
	lost := s.expire(now)
	at := s.session.nextReport(&s.queue, now)
	s.watchesIdle = s.session.alloc > s.session.used
	busy, begun := s.calls.Load() >= maxAbandoned, false
	if s.closing && *x == nil && (!s.session.registered || s.session.failures >= maxFinalReports || busy) {
		stop = true
	} else if !at.IsZero() && *x == nil && !at.After(now) && !busy {
		*x, begun = s.begin(now), true
	}
	at = s.nextStep(at, *x, now)
	s.mu.Unlock()
	s.endLeases(lost, errExpired)
	if begun { // comparing x.sent with now would not do: two steps can see the same time
		s.send(ctx, *x)
	}
	return max(at.Sub(now), 0), stop
}

// nextStep returns when the loop must look again: when the exchange is given up, or else when the next report is due, and
// when the session ends. The mutex is held.
func (s *Semaphore) nextStep(at time.Time, x *exchange, now time.Time) time.Time {
	switch {
	case x != nil:
		at = x.until
	case at.IsZero():
		at = now.Add(time.Hour)
	case s.calls.Load() >= maxAbandoned:
		at = now.Add(s.timeout())
	}
	if ends := s.session.ends; !ends.IsZero() && ends.Before(at) {
		at = ends
	}
	return at
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
func (s *Semaphore) send(ctx context.Context, x *exchange) {
	s.calls.Add(1)
	go func() {
		defer s.calls.Add(-1)
		ctx, cancel := context.WithDeadline(ctx, x.until)
		defer cancel()
		reply, err := scripts.ReportSemaphore(ctx, s.rdb, s.cfg.Name, x.report)
		x.result <- response{reply: reply, received: time.Now(), err: err}
	}()
}

// finish applies the response to an exchange.
func (s *Semaphore) finish(x *exchange, a response) {
	if a.reply != nil {
		s.clock.Observe(x.sent, a.received, a.reply.Now)
	}
	s.mu.Lock()
	before := s.session.err
	var lost []*Lease
	switch {
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
	s.endLeases(lost, errRevoked)
	h := &s.cfg.Hooks
	if h.ScriptCalled != nil {
		h.ScriptCalled(ScriptCall{RoundTrip: a.received.Sub(x.sent), Err: a.err})
	}
	if before == nil && after != nil && h.RedisFailed != nil {
		h.RedisFailed(after)
	}
	if before != nil && after == nil && h.RedisRecovered != nil {
		h.RedisRecovered()
	}
}

// applyReply grants what a reply allocated. The mutex is held.
func (s *Semaphore) applyReply(x *exchange, now time.Time) {
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
			s.degraded++
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
