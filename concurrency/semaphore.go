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

// Semaphore limits how many permits are in use at a time, in all processes that have a Semaphore of the same name on the
// same Redis. A process needs one Semaphore per name. It is safe for concurrent use. Call Close when it is no longer needed.
type Semaphore struct {
	rdb   redis.UniversalClient
	id    string // of the session
	cfg   Config
	clock scripts.Clock
	base  time.Time     // ends counts from here
	ends  atomic.Int64  // a copy of session.ends for readers that don't hold the mutex; 0: none
	calls atomic.Int64  // script calls that the client still runs
	done  chan struct{} // closed when the loop has no more to do for the semaphore
	loop  *loop         // set by the first signal

	waiterPool sync.Pool

	// Only the loop's goroutine uses these, and after done Close reads wasLast.
	exchange  *exchange // nil: no report is in flight
	lastReply lastReply
	next      time.Time // when the loop must look again
	dueAt     int       // index in the loop's heap; negative: none
	listening bool      // the listener has its channels
	ended     bool
	wasLast   bool // the loop has ended with the semaphore

	isReady bool // in loop.ready; guarded by loop.mu

	mu          sync.Mutex
	started     bool
	closing     bool
	watchesIdle bool              // the loop has set its timer for idle permits and needs no signal
	degraded    []context.Context // of requests decided by the outage policy that the hook doesn't know of
	queue       queue
	granted     grantedList
	leases      leaseList
	session     session
	stats       Stats
}

// New returns a semaphore. It uses Redis from the first request for a permit on.
func New(rdb redis.UniversalClient, cfg Config) (*Semaphore, error) {
	if rdb == nil {
		return nil, errors.New("concurrency: the Redis client is nil: pass a connected client to New")
	}
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	s := &Semaphore{
		rdb: rdb, id: rand.Text(), cfg: cfg, base: time.Now(),
		done: make(chan struct{}), dueAt: -1,
	}
	s.session = newSession(&s.cfg)
	return s, nil
}

// signal makes the loop look at the semaphore. The first signal joins the client's loop. The mutex is held.
func (s *Semaphore) signal() {
	if !s.started {
		s.started = true
		s.loop = joinLoop(s)
	}
	s.loop.wake(s)
}

// Name returns the semaphore's name.
func (s *Semaphore) Name() string { return s.cfg.Name }

// Session returns the ID of this process's session, for Inspect and Revoke.
func (s *Semaphore) Session() string { return s.id }

// canGrant reports whether w can be granted its permits now, by the allocation or the outage policy. If it is true, the caller
// must grant them. The mutex is held.
func (s *Semaphore) canGrant(w *waiter) bool {
	if s.session.fits(w.n) {
		return true
	}
	if s.session.fitsOutage(w.n) {
		s.degraded = append(s.degraded, w.ctx)
		return true
	}
	return false
}

// grant makes the lease for w. The mutex is held, and canGrant was true.
func (s *Semaphore) grant(w *waiter, now time.Time) *Lease {
	l := &Lease{sem: s, n: w.n, level: w.level, parent: w.ctx, since: now}
	s.session.use(w.n, w.level, now)
	s.leases.add(l)
	s.stats.LeasesGranted++
	if w.maxHold > 0 {
		l.timer = time.AfterFunc(w.maxHold, func() { s.reclaim(l) })
	}
	return l
}

// serve grants free permits in the queue's order, and signals the loop if permits have to be returned. The mutex is held;
// unlock sends the leases.
func (s *Semaphore) serve(now time.Time) {
	w := s.queue.head()
	for w != nil && s.canGrant(w) {
		s.queue.remove(w)
		s.granted.add(w, s.grant(w, now))
		w = s.queue.head()
	}
	idle := w == nil && s.session.alloc > s.session.used
	unused := w == nil && s.session.used == 0 && s.session.alloc == 0
	if s.session.hasSurplus(w != nil) || (idle && !s.watchesIdle) || unused {
		s.signal()
	}
}

// release passes a lease's permits to the next waiter or returns them. It reports whether the lease was held.
func (s *Semaphore) release(l *Lease, o Outcome) bool {
	now := time.Now()
	s.mu.Lock()
	defer s.unlock()
	if !l.held {
		return false
	}
	s.leases.remove(l)
	s.session.use(-l.n, l.level, now)
	s.recordSample(o, now.Sub(l.since), now)
	s.serve(now)
	return true
}

// recordSample keeps the result of a call for the adaptive limit. The mutex is held.
func (s *Semaphore) recordSample(o Outcome, took time.Duration, now time.Time) {
	m := &s.session.samples
	if s.cfg.Adaptive == nil || o == Ignored {
		return
	}
	first := m.since.IsZero()
	m.add(o, took, now)
	if first || (o == Dropped && m.dropped == 1) {
		s.signal() // the loop sets its timer
	}
}

// reclaim ends a lease that was held for too long: first its context, then its hold on the permits.
func (s *Semaphore) reclaim(l *Lease) {
	s.mu.Lock()
	held := l.held
	s.mu.Unlock()
	if held {
		l.end(errTooLong)
	}
	if held && s.release(l, Dropped) {
		s.recordLost(1, errTooLong)
	}
}

// checkEnd ends the session if its time has come, without waiting for the loop's timer.
func (s *Semaphore) checkEnd() {
	ends := s.ends.Load()
	now := time.Now()
	if ends == 0 || now.Sub(s.base) < time.Duration(ends) {
		return
	}
	s.mu.Lock()
	lost := s.expire(now)
	s.mu.Unlock()
	s.endLeases(lost, errExpired)
}

// expire ends the session if its time has come. It returns the leases that the caller must end. The mutex is held.
func (s *Semaphore) expire(now time.Time) []*Lease {
	if !s.session.ended(now) {
		return nil
	}
	return s.dropLeases()
}

// dropLeases clears the session and returns its leases, for the caller to end without the mutex. The mutex is held.
func (s *Semaphore) dropLeases() []*Lease {
	s.session.clear()
	s.ends.Store(0)
	s.signal()
	return s.leases.clear()
}

// endLeases ends the contexts of lost leases.
func (s *Semaphore) endLeases(leases []*Lease, cause error) {
	for _, l := range leases {
		l.end(cause)
	}
	s.recordLost(len(leases), cause)
}

func (s *Semaphore) recordLost(n int, cause error) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	s.stats.LeasesLost += int64(n)
	s.mu.Unlock()
	if h := s.cfg.Hooks.LeaseLost; h != nil {
		h(context.Background(), n, cause)
	}
}

// unlock releases the mutex, then wakes the waiters that were granted, and calls the hook for requests that the outage policy
// has decided.
func (s *Semaphore) unlock() {
	requests, err, granted := s.degraded, s.session.err, s.granted
	s.degraded, s.granted = nil, grantedList{}
	s.mu.Unlock()
	granted.send()
	if h := s.cfg.Hooks.Degraded; h != nil {
		for _, ctx := range requests {
			h(ctx, s.cfg.Outage, err)
		}
	}
}

// Close ends all waits with ErrClosed, ends the contexts of leases still held, and returns every permit to Redis. It waits
// for that until ctx ends. Permits whose return Redis hasn't confirmed are free after SessionTTL. Another Close waits
// again. Close the semaphore before its client.
//
// The semaphores of a client share a subscription and its goroutines, which end with the last Close. Script calls that the
// client still runs because Redis hangs end with the client's own timeouts.
func (s *Semaphore) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	started := s.started
	s.queue.drop(func(*waiter) error { return ErrClosed })
	leases := s.leases.clear()
	s.mu.Unlock()
	s.endLeases(leases, errClosing)
	if !started {
		return nil
	}
	// The permits are returned only now, after the leases' contexts have ended.
	s.mu.Lock()
	s.session.clear()
	s.session.failures = 0 // the final report has attempts of its own
	s.signal()
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-ctx.Done():
		return s.fail(contextError(ctx))
	}
	s.mu.Lock()
	returned, err := !s.session.registered, s.session.err
	s.mu.Unlock()
	if !returned {
		return s.fail(fmt.Errorf("%w: the permits are free when the session ends: %w", ErrUnavailable, err))
	}
	if s.wasLast {
		select {
		case <-s.loop.listener.done:
		case <-ctx.Done():
		}
	}
	return nil
}
