package concurrency

import (
	"context"
	"sync"
	"time"
)

// holdLimit is a maximum hold; 0: none.
type holdLimit = time.Duration

// Lease is the hold on permits. Its methods are safe for concurrent use.
type Lease struct {
	sem    *Semaphore
	n      int64
	level  int
	parent context.Context
	since  time.Time   // when it was granted
	timer  *time.Timer // the maximum hold's, or nil

	// Guarded by the semaphore's mutex.
	held       bool
	prev, next *Lease

	mu    sync.Mutex
	ctx   *leaseContext // made when it is first asked for
	cause error         // why the lease ended; nil while it is held
}

// Permits returns how many permits the lease holds, or held.
func (l *Lease) Permits() int { return int(l.n) }

// Release gives the permits back, to the next waiter of the process or to Redis. It returns at once, works whatever
// has become of the caller's context, and may be called again, or after the lease was lost, to no effect.
func (l *Lease) Release() {
	l.Done(Ignored)
}

// Context returns a context that ends with the lease: it has the values and the end of the context that was given to
// Acquire, and is cancelled by Release, or with a cause that is ErrLeaseLost when the lease is lost: a TTL after the
// last contact with Redis, before Redis can give the permits to another, or when the session is revoked or the
// maximum hold exceeded.
//
// Its Err looks at the clock: a process that was stopped and continued sees the loss before any timer has fired.
func (l *Lease) Context() context.Context {
	l.mu.Lock()
	made := l.ctx
	l.mu.Unlock()
	if made != nil {
		return made
	}
	// Not under the mutex: the parent may be a lease's context itself, and look at the session's end.
	fresh := &leaseContext{lease: l}
	fresh.Context, fresh.cancel = context.WithCancelCause(l.parent)
	l.mu.Lock()
	if l.ctx == nil {
		l.ctx = fresh
	}
	made, ended := l.ctx, l.cause
	l.mu.Unlock()
	if made != fresh || ended != nil {
		fresh.cancel(ended) // another call was first, or the lease has ended
	}
	return made
}

// Err returns nil while the lease is held, an ErrLeaseLost once it is lost, and context.Canceled after Release.
func (l *Lease) Err() error {
	l.sem.checkEnd()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// end cancels the lease's context. The first cause stays.
func (l *Lease) end(cause error) {
	l.mu.Lock()
	if l.cause != nil {
		l.mu.Unlock()
		return
	}
	l.cause = cause
	ctx := l.ctx
	l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
	if ctx != nil {
		ctx.cancel(cause)
	}
}

// leaseContext looks at the session's end whenever it is asked, since the timer of a process that was stopped fires
// only some time after the process continues.
type leaseContext struct {
	context.Context
	cancel context.CancelCauseFunc
	lease  *Lease
}

func (c *leaseContext) Done() <-chan struct{} {
	c.lease.sem.checkEnd()
	return c.Context.Done()
}

func (c *leaseContext) Err() error {
	c.lease.sem.checkEnd()
	return c.Context.Err()
}

// leaseList holds the leases of a semaphore. Guarded by its mutex.
type leaseList struct {
	first *Lease
	n     int
}

func (ll *leaseList) add(l *Lease) {
	l.held, l.next = true, ll.first
	if ll.first != nil {
		ll.first.prev = l
	}
	ll.first = l
	ll.n++
}

func (ll *leaseList) remove(l *Lease) {
	if l.prev != nil {
		l.prev.next = l.next
	} else {
		ll.first = l.next
	}
	if l.next != nil {
		l.next.prev = l.prev
	}
	l.held, l.prev, l.next = false, nil, nil
	ll.n--
}

// clear takes all leases out and returns them.
func (ll *leaseList) clear() []*Lease {
	all := make([]*Lease, 0, ll.n)
	for ll.first != nil {
		all = append(all, ll.first)
		ll.remove(ll.first)
	}
	return all
}
