package concurrency

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/scripts"
	"github.com/redis/go-redis/v9"
)

// Semaphore limits how many permits all processes use at a time that have a Semaphore of the same name on the same
// Redis. A process needs one per name; it is safe for concurrent use. Close it when it is no longer needed.
type Semaphore struct {
	rdb   redis.UniversalClient
	name  string
	id    string // of the session
	cfg   config
	clock scripts.Clock
	base  time.Time     // ends counts from here
	ends  atomic.Int64  // a copy of session.ends for whoever doesn't hold the mutex; 0: none
	kick  chan struct{} // something happened that the loop should look at
	done  chan struct{} // the loop has ended
	calls atomic.Int64  // script calls under way, abandoned ones included

	waiters sync.Pool

	mu      sync.Mutex
	started bool
	closing bool
	relaxed bool // the loop looks at idle permits by itself, without a kick
	queue   queue
	leases  leaseList
	session session
	stats   Stats
}

// NewSemaphore returns a semaphore of limit permits, from 1 to 16,777,215. It does nothing with Redis until the first
// permit is asked for. Its name may hold any bytes.
func NewSemaphore(rdb redis.UniversalClient, name string, limit int, opts ...Option) (*Semaphore, error) {
	if rdb == nil {
		return nil, errors.New("concurrency: NewSemaphore needs a Redis client, not nil")
	}
	if name == "" {
		return nil, errors.New("concurrency: NewSemaphore needs a name")
	}
	cfg, err := newConfig(int64(limit), opts)
	if err != nil {
		return nil, fmt.Errorf("concurrency: semaphore %q: %w", name, err)
	}
	s := &Semaphore{
		rdb: rdb, name: name, id: rand.Text(), cfg: cfg, base: time.Now(),
		kick: make(chan struct{}, 1), done: make(chan struct{}),
	}
	s.session = newSession(&s.cfg)
	return s, nil
}

// Name returns the semaphore's name.
func (s *Semaphore) Name() string { return s.name }

// Session returns the ID by which Inspect and Revoke know this process.
func (s *Semaphore) Session() string { return s.id }

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
	if c := s.session.ceiling; w.n > c && c > 0 {
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

// grant makes the lease for w. The mutex is held, and there is room.
func (s *Semaphore) grant(w *waiter, now time.Time) *Lease {
	l := &Lease{sem: s, n: w.n, level: w.level, parent: w.ctx}
	s.session.use(w.n, w.level, now)
	s.leases.add(l)
	s.stats.Acquired++
	if w.hold > 0 {
		l.timer = time.AfterFunc(w.hold, func() { s.reclaim(l) })
	}
	return l
}

// serve hands out what there is, in the queue's order, and tells the loop if permits should go back. The mutex is held.
func (s *Semaphore) serve(now time.Time) {
	w := s.queue.head()
	for w != nil && s.session.room(w.n) {
		s.queue.remove(w)
		w.ready <- outcome{lease: s.grant(w, now)}
		w = s.queue.head()
	}
	idle := w == nil && s.session.alloc > s.session.used
	if s.session.surplus(w != nil) || (idle && !s.relaxed) || (w == nil && s.session.used == 0 && s.session.alloc == 0) {
		s.wakeLoop()
	}
}

// release gives a lease's permits to the next waiter, or back. It reports whether the lease was held.
func (s *Semaphore) release(l *Lease) bool {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !l.held {
		return false
	}
	s.leases.remove(l)
	s.session.use(-l.n, l.level, now)
	s.serve(now)
	return true
}

// reclaim takes back a lease that was held for too long: first the context ends, then the permits go to others.
func (s *Semaphore) reclaim(l *Lease) {
	s.mu.Lock()
	held := l.held
	s.mu.Unlock()
	if held {
		l.end(errTooLong)
	}
	if held && s.release(l) {
		s.lost(1, errTooLong)
	}
}

// checkEnd ends the session if its time has come, without waiting for the loop to notice.
func (s *Semaphore) checkEnd() {
	ends := s.ends.Load()
	now := time.Now()
	if ends == 0 || now.Sub(s.base) < time.Duration(ends) {
		return
	}
	s.mu.Lock()
	lost := s.lapse(now)
	s.mu.Unlock()
	s.lose(lost, errExpired)
}

// lapse ends the session if its time has come, and returns the leases to be ended with it. The mutex is held.
func (s *Semaphore) lapse(now time.Time) []*Lease {
	if !s.session.over(now) {
		return nil
	}
	return s.forfeit()
}

// forfeit takes all leases out of the books, for the caller to end them without the mutex. The mutex is held.
func (s *Semaphore) forfeit() []*Lease {
	s.session.forget()
	s.ends.Store(0)
	s.wakeLoop()
	return s.leases.clear()
}

// lose ends the contexts of lost leases.
func (s *Semaphore) lose(leases []*Lease, cause error) {
	for _, l := range leases {
		l.end(cause)
	}
	s.lost(len(leases), cause)
}

func (s *Semaphore) lost(n int, cause error) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	s.stats.Lost += int64(n)
	s.mu.Unlock()
	if s.cfg.hooks.Lost != nil {
		s.cfg.hooks.Lost(n, cause)
	}
}

// Close ends all waits with ErrClosed, ends the contexts of leases still held, and gives every permit back to Redis.
// It waits for that until ctx ends; what Redis couldn't be told comes back with the TTL. Closing again waits again.
func (s *Semaphore) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	started := s.started
	s.queue.drop(func(*waiter) error { return ErrClosed })
	leases := s.leases.clear()
	s.mu.Unlock()
	s.lose(leases, errClosing)
	if !started {
		return nil
	}
	// Only now, with their contexts ended, may the permits go back.
	s.mu.Lock()
	s.session.forget()
	s.wakeLoop()
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-ctx.Done():
		return s.fail(context.Cause(ctx))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session.err != nil {
		return s.fail(fmt.Errorf("the permits come back when the session ends: %w", s.session.err))
	}
	return nil
}
