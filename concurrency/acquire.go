package concurrency

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Acquire waits for one permit. The error is an *Error that wraps ErrDeadline, ErrMaxWait, ErrClosed,
// ErrUnavailable, or the end of ctx. ctx bounds the wait alone; see Lease.Context.
func (s *Semaphore) Acquire(ctx context.Context, opts ...AcquireOption) (*Lease, error) {
	return s.AcquireN(ctx, 1, opts...)
}

// AcquireN waits for n permits at once, at least 1. Requests of the same priority are served in the order in which they
// came: small requests don't overtake a large one. The error is an *Error that wraps ErrDeadline, ErrMaxWait, ErrNeverFits,
// ErrClosed, ErrUnavailable, or the end of ctx.
func (s *Semaphore) AcquireN(ctx context.Context, n int, opts ...AcquireOption) (*Lease, error) {
	return s.acquire(ctx, n, false, opts)
}

// TryAcquire returns one permit if one is free, else ErrFull. It doesn't wait for a release, but may wait for one reply of
// Redis.
func (s *Semaphore) TryAcquire(ctx context.Context, opts ...AcquireOption) (*Lease, error) {
	return s.acquire(ctx, 1, true, opts)
}

// TryAcquireN is TryAcquire for n permits at once.
func (s *Semaphore) TryAcquireN(ctx context.Context, n int, opts ...AcquireOption) (*Lease, error) {
	return s.acquire(ctx, n, true, opts)
}

// AcquireOption changes one request.
type AcquireOption struct {
	apply func(*waiter)
}

// WithPriority sets the request's priority. The default is PriorityNormal.
func WithPriority(p Priority) AcquireOption {
	return AcquireOption{func(w *waiter) { w.level = min(max(p, PriorityLow), PriorityHigh).level() }}
}

// WithMaxHold sets the longest time that the lease may be held, in place of Config.MaxHold. 0: no maximum.
func WithMaxHold(d time.Duration) AcquireOption {
	return AcquireOption{func(w *waiter) { w.maxHold = max(d, 0) }}
}

// WithMaxWait sets the longest time that the request waits for its permits. After it, the error is ErrMaxWait. 0: no maximum
// besides the context's end.
func WithMaxWait(d time.Duration) AcquireOption {
	return AcquireOption{func(w *waiter) { w.maxWait = max(d, 0) }}
}

func (s *Semaphore) fail(err error) error { return &Error{Semaphore: s.cfg.Name, Err: err} }

func (s *Semaphore) acquire(ctx context.Context, n int, try bool, opts []AcquireOption) (*Lease, error) {
	if ctx.Err() != nil {
		return nil, s.fail(contextError(ctx))
	}
	if n < 1 {
		return nil, s.fail(fmt.Errorf("the request is for %d permits: ask for at least 1", n))
	}
	w, ok := s.waiterPool.Get().(*waiter)
	if !ok {
		w = &waiter{ready: make(chan outcome, 1)}
	}
	w.ctx, w.n, w.level, w.try = ctx, int64(n), PriorityNormal.level(), try
	w.maxWait, w.maxHold = 0, s.cfg.MaxHold
	for _, o := range opts {
		o.apply(w)
	}
	defer func() {
		w.ctx = nil
		s.waiterPool.Put(w)
	}()
	lease, err := s.enter(w)
	if err == errQueued { //nolint:errorlint // never wrapped, and this is the fast path
		lease, err = s.wait(w)
	}
	if err != nil {
		return nil, s.fail(err)
	}
	return lease, nil
}

// errQueued: the waiter is in the queue.
var errQueued = errors.New("queued")

// enter grants w at once, refuses it, or queues it and returns errQueued.
func (s *Semaphore) enter(w *waiter) (*Lease, error) {
	now := time.Now()
	s.mu.Lock()
	lost := s.expire(now)
	lease, err := s.admit(w, now)
	s.unlock()
	s.endLeases(lost, errExpired)
	return lease, err
}

func (s *Semaphore) admit(w *waiter, now time.Time) (*Lease, error) {
	if err := s.refuse(w); err != nil {
		return nil, err
	}
	blocked := s.queue.blocks(w.level)
	if !blocked && s.canGrant(w) {
		return s.grant(w, now), nil
	}
	if s.session.ends.IsZero() && s.session.failsClosed() {
		s.degraded = append(s.degraded, w.ctx)
		return nil, s.session.unavailable()
	}
	if w.try && blocked {
		return nil, ErrFull
	}
	w.afterSeq = s.session.seq
	s.queue.push(w)
	s.stats.Waits++
	// If Redis already counts the session as waiting, w has a report at the next poll. TryAcquire doesn't wait so long.
	if w.try || w.level < s.session.waitingPriority {
		s.session.demandRose = true
		s.signal()
	}
	return nil, errQueued
}

// refuse returns the reason for which w can never be granted, or nil.
func (s *Semaphore) refuse(w *waiter) error {
	if s.closing {
		return ErrClosed
	}
	c := s.session.ceiling
	if s.cfg.Adaptive != nil {
		c = min(c, int64(s.cfg.Adaptive.Min)) // the limit may fall to Min, and rises only while it is used
	}
	if w.n > c && c > 0 {
		return fmt.Errorf("%w: %d permits of %d: ask for fewer or raise the limit", ErrNeverFits, w.n, c)
	}
	return nil
}

// wait waits until w is granted or refused, or its context or maximum wait ends.
func (s *Semaphore) wait(w *waiter) (*Lease, error) {
	var tooLong <-chan time.Time
	if w.maxWait > 0 {
		t := time.NewTimer(w.maxWait)
		defer t.Stop()
		tooLong = t.C
	}
	select {
	case out := <-w.ready:
		if out.lease != nil && w.ctx.Err() != nil { // both were ready: a context that ended before the grant counts
			out.lease.Release()
			return nil, contextError(w.ctx)
		}
		return out.lease, out.err
	case <-w.ctx.Done():
		return nil, s.abandon(w, contextError(w.ctx))
	case <-tooLong:
		return nil, s.abandon(w, ErrMaxWait)
	}
}

// abandon takes w out of the queue. If w was served at the same moment, its permits go to the next waiter. It returns the
// error with which w was refused, or else err.
func (s *Semaphore) abandon(w *waiter, err error) error {
	s.mu.Lock()
	if w.queued {
		s.queue.remove(w)
		s.serve(time.Now()) // a large request may have delayed small ones
		if w.afterSeq < s.session.seq && !s.session.demandFell {
			s.session.demandFell = true
			s.signal()
		}
		s.unlock()
		return err
	}
	s.mu.Unlock()
	out := <-w.ready
	if out.lease == nil {
		return out.err
	}
	out.lease.Release()
	return err
}
