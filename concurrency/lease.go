package concurrency

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Lease is a hold on permits. Its methods are safe for concurrent use.
type Lease struct {
	sem    *Semaphore
	n      int64
	level  int
	parent context.Context
	since  time.Time   // when it was granted
	timer  *time.Timer // ends the maximum hold; nil: there is none

	// Guarded by the semaphore's mutex.
	held       bool
	prev, next *Lease

	mu    sync.Mutex
	ctx   *leaseContext // made by the first call of Context
	cause error         // why the lease ended; nil: it is held
}

// Permits returns the number of permits that the lease holds or held.
func (l *Lease) Permits() int { return int(l.n) }

// Release passes the permits to the next request of the process, or returns them to Redis. It doesn't wait, and needs no
// live context. It has no effect if the lease was released or lost before.
func (l *Lease) Release() {
	l.Done(Ignored)
}

// Context returns a context that ends with the lease. Release cancels it. If the lease is lost, the context's cause is an
// ErrLeaseLost: the session wasn't renewed in time or was revoked, the maximum hold has passed, or the semaphore was closed.
// The context ends before Redis allocates the permits to another session.
//
// It has the values of the context that was passed to Acquire, and is cancelled with it. It doesn't have that context's
// deadline, which bounds the wait alone. For a deadline of the work, derive a context from this one. If the context for the
// wait must be cancelled before the work ends, use WithMaxWait instead.
//
// Its Done and Err compare the clock with the session's end. So a process that was stopped sees the loss when it continues,
// before any timer has fired.
func (l *Lease) Context() context.Context {
	l.mu.Lock()
	made := l.ctx
	l.mu.Unlock()
	if made != nil {
		return made
	}
	// Without the mutex, because the parent may itself be a lease's context, which checks the session's end.
	fresh := &leaseContext{lease: l}
	fresh.Context, fresh.cancelCause = context.WithCancelCause(context.WithoutCancel(l.parent))
	fresh.stop = context.AfterFunc(l.parent, fresh.checkParent)
	l.mu.Lock()
	if l.ctx == nil {
		l.ctx = fresh
	}
	made, ended := l.ctx, l.cause
	l.mu.Unlock()
	if made != fresh || ended != nil {
		fresh.cancel(ended) // a concurrent call was first, or the lease has ended
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

// end cancels the lease's context. Only the first call has an effect.
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

// leaseContext checks the session's end in each call, because the timers of a process that was stopped fire only some time
// after the process continues.
type leaseContext struct {
	context.Context
	cancelCause context.CancelCauseFunc
	stop        func() bool // ends the watch of the parent
	lease       *Lease
}

func (c *leaseContext) Done() <-chan struct{} {
	c.lease.sem.checkEnd()
	return c.Context.Done()
}

func (c *leaseContext) Err() error {
	c.lease.sem.checkEnd()
	c.checkParent()
	return c.Context.Err()
}

// checkParent ends the context if the parent was cancelled. If the parent's deadline has passed, it doesn't.
func (c *leaseContext) checkParent() {
	if err := c.lease.parent.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		c.cancelCause(context.Cause(c.lease.parent))
	}
}

func (c *leaseContext) cancel(cause error) {
	c.stop()
	c.cancelCause(cause)
}

// leaseList holds the leases of a semaphore. The semaphore's mutex guards it.
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

// clear removes all leases and returns them.
func (ll *leaseList) clear() []*Lease {
	all := make([]*Lease, 0, ll.n)
	for ll.first != nil {
		all = append(all, ll.first)
		ll.remove(ll.first)
	}
	return all
}
