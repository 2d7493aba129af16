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
	deaf  chan struct{} // and the goroutine that listens
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
		kick: make(chan struct{}, 1), done: make(chan struct{}), deaf: make(chan struct{}),
	}
	s.session = newSession(&s.cfg)
	return s, nil
}

// Name returns the semaphore's name.
func (s *Semaphore) Name() string { return s.name }

// Session returns the ID by which Inspect and Revoke know this process.
func (s *Semaphore) Session() string { return s.id }

// grant makes the lease for w. The mutex is held, and there is room.
func (s *Semaphore) grant(w *waiter, now time.Time) *Lease {
	l := &Lease{sem: s, n: w.n, level: w.level, parent: w.ctx, since: now}
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
func (s *Semaphore) release(l *Lease, o Outcome) bool {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !l.held {
		return false
	}
	s.leases.remove(l)
	s.session.use(-l.n, l.level, now)
	s.sample(o, now.Sub(l.since), now)
	s.serve(now)
	return true
}

// sample notes what a call met. The mutex is held.
func (s *Semaphore) sample(o Outcome, took time.Duration, now time.Time) {
	m := &s.session.samples
	if s.cfg.adaptive == nil || o == Ignored {
		return
	}
	first := m.since.IsZero()
	m.add(o, took, now)
	if first || (o == Overloaded && m.dropped == 1) {
		s.wakeLoop() // to set its timer
	}
}

// reclaim takes back a lease that was held for too long: first the context ends, then the permits go to others.
func (s *Semaphore) reclaim(l *Lease) {
	s.mu.Lock()
	held := l.held
	s.mu.Unlock()
	if held {
		l.end(errTooLong)
	}
	if held && s.release(l, Overloaded) {
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
// It waits for that until ctx ends; what Redis couldn't be told comes back with the TTL. Closing again waits again. The
// goroutines end with it, but for what the client does while it tries to reach a Redis that hangs.
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
	s.session.failures = 0 // the last report has tries of its own
	s.wakeLoop()
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-ctx.Done():
		return s.fail(context.Cause(ctx))
	}
	s.mu.Lock()
	told, err := !s.session.listed, s.session.err
	s.mu.Unlock()
	if !told {
		return s.fail(fmt.Errorf("%w: the permits come back when the session ends: %w", ErrUnavailable, err))
	}
	select {
	case <-s.deaf:
	case <-ctx.Done():
	}
	return nil
}
