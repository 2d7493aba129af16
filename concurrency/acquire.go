package concurrency

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Acquire waits for one permit. The error, an *Error, wraps the cause of ctx's end, ErrClosed or ErrUnavailable.
func (s *Semaphore) Acquire(ctx context.Context, opts ...AcquireOption) (*Lease, error) {
	return s.AcquireN(ctx, 1, opts...)
}

// AcquireN waits for n permits at once, at least 1. Callers of the same priority are served in the order in which they
// came: a large request isn't overtaken by small ones. The error, an *Error, wraps the cause of ctx's end,
// ErrTooLarge, ErrClosed or ErrUnavailable.
func (s *Semaphore) AcquireN(ctx context.Context, n int, opts ...AcquireOption) (*Lease, error) {
	return s.acquire(ctx, n, false, opts)
}

// TryAcquire returns one permit if it can be had without waiting for anybody to release it, else ErrFull. It may ask
// Redis, which takes a round trip.
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

// WithPriority sets the request's priority. The default is Normal.
func WithPriority(p Priority) AcquireOption {
	return AcquireOption{func(w *waiter) { w.level = min(max(p, Low), High).level() }}
}

// WithHold sets the lease's own maximum hold, instead of that of WithMaxHold; 0: none.
func WithHold(d time.Duration) AcquireOption {
	return AcquireOption{func(w *waiter) { w.hold = max(d, 0) }}
}

func (s *Semaphore) fail(err error) error { return &Error{Semaphore: s.name, Err: err} }

func (s *Semaphore) acquire(ctx context.Context, n int, try bool, opts []AcquireOption) (*Lease, error) {
	if ctx.Err() != nil {
		return nil, s.fail(context.Cause(ctx))
	}
	if n < 1 {
		return nil, s.fail(fmt.Errorf("%d permits were asked for: ask for at least 1", n))
	}
	w, ok := s.waiters.Get().(*waiter)
	if !ok {
		w = &waiter{ready: make(chan outcome, 1)}
	}
	w.ctx, w.n, w.level, w.hold, w.try = ctx, int64(n), Normal.level(), s.cfg.maxHold, try
	for _, o := range opts {
		o.apply(w)
	}
	defer func() {
		w.ctx = nil
		s.waiters.Put(w)
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

// errQueued: the caller waits in the queue.
var errQueued = errors.New("queued")

// enter serves w at once, refuses it, or puts it into the queue: errQueued.
func (s *Semaphore) enter(w *waiter) (*Lease, error) {
	now := time.Now()
	s.mu.Lock()
	lost := s.lapse(now)
	lease, err := s.admit(w, now)
	s.mu.Unlock()
	s.lose(lost, errExpired)
	return lease, err
}

func (s *Semaphore) admit(w *waiter, now time.Time) (*Lease, error) {
	if err := s.refuse(w); err != nil {
		return nil, err
	}
	ahead := s.queue.ahead(w.level)
	if !ahead && s.session.room(w.n) {
		return s.grant(w, now), nil
	}
	if s.session.err != nil && s.session.ends.IsZero() && s.cfg.policy == FailClosed {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, s.session.err)
	}
	if w.try && (ahead || s.session.stuck <= w.level) {
		return nil, ErrFull
	}
	w.asked = s.session.seq
	s.queue.push(w)
	s.stats.Waited++
	if w.level < s.session.stuck {
		s.session.urgent = true
		s.wakeLoop()
	}
	return nil, errQueued
}

// refuse returns why w can never be served.
func (s *Semaphore) refuse(w *waiter) error {
	if s.closing {
		return ErrClosed
	}
	c := s.session.ceiling
	if s.cfg.adaptive != nil {
		c = min(c, int64(s.cfg.adaptive.Min)) // it may fall so far, and not climb again without use
	}
	if w.n > c && c > 0 {
		return fmt.Errorf("%w: %d permits of %d", ErrTooLarge, w.n, c)
	}
	return nil
}

// wait waits until w is served or its context ends.
func (s *Semaphore) wait(w *waiter) (*Lease, error) {
	var out outcome
	select {
	case out = <-w.ready:
	case <-w.ctx.Done():
		s.mu.Lock()
		if w.queued {
			s.queue.remove(w)
			s.serve(time.Now()) // a large request may have held up small ones
			s.mu.Unlock()
			return nil, context.Cause(w.ctx)
		}
		s.mu.Unlock()
		// Served at the same moment: the permit goes to the next.
		if out = <-w.ready; out.lease != nil {
			out.lease.Release()
			return nil, context.Cause(w.ctx)
		}
	}
	return out.lease, out.err
}
