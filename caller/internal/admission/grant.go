package admission

import (
	"context"
	"slices"
	"sync/atomic"
	"time"
)

// Grant is what an admitted call has: a key, a booking in its limits, a permit. Acquire fills it. Its methods are safe
// for concurrent use.
type Grant struct {
	booking
	controller *Controller
	released   atomic.Bool
	waited     time.Duration
	waits      Waits
	shadow     *follower // of a grant by Shadow.Pick, which has no controller; else nil
}

// booking is what Redis granted.
type booking struct {
	target *target
	key    string    // its ID
	sendAt time.Time // when the call may be sent
	trial  bool      // the key was disabled, and this call tries whether it still is
	units  []int64   // as charged, by metric
	tenant int       // whose share it is charged to, by index
	lease  context.Context
}

// Key returns the ID of the granted key.
func (b *booking) Key() string { return b.key }

// Account returns the ID of the key's account.
func (b *booking) Account() string { return b.target.account.ID }

// Trial reports whether the key or account was disabled, and the call tests it.
func (b *booking) Trial() bool { return b.trial }

// Units returns what was charged, by metric. It mustn't be changed. A call that got the booking of another one is charged
// what that was.
func (b *booking) Units() []int64 { return b.units }

// Lost returns a context that ends when the permit is lost; nil: it can't be lost.
func (b *booking) Lost() context.Context { return b.lease }

// fits reports whether the booking, which nothing was sent with, fits another waiter, whose model group has a name. A
// waiter with an affinity waits for its own account.
func (b *booking) fits(w *waiter, group string) bool {
	if b.target.group != group || w.Affinity != "" || slices.Contains(w.Exclude, b.Account()) || w.expiresBy(b.sendAt) {
		return false
	}
	for i, charged := range b.units {
		if w.Units[i] > charged {
			return false
		}
	}
	return true
}

// Waited returns how long Acquire took, and for what it waited. It also serves a grant that Acquire returned an error for.
func (g *Grant) Waited() (time.Duration, Waits) { return g.waited, g.waits }

// Release returns the permit. Only the first call of Release or Decline counts. Release reports whether this is that call.
func (g *Grant) Release() bool {
	first := !g.released.Swap(true)
	switch {
	case first && g.shadow != nil:
		g.shadow.end()
	case first:
		g.controller.release(g.target.account)
	}
	return first
}

// Released reports whether the permit has been returned.
func (g *Grant) Released() bool { return g.released.Load() }

// Decline gives up a grant that nothing was sent with. Redis can't take the booking back, because later calls are booked
// behind it. So the first waiter that the booking fits gets it. If there is none, the permit and daily counts are
// returned.
func (g *Grant) Decline() {
	if !g.released.Swap(true) && g.shadow == nil {
		g.controller.decline(&g.booking)
	}
}

// Settle corrects what the call was charged by a difference of units, actual less charged, by metric. Redis gets it with
// the next script call, or a moment later. A refund of a charge that the provider no longer counts has no effect. A
// difference that can't be true is an ErrSettlement and changes nothing: a refund of more than was charged, or a debt of
// more than twice a limit.
func (g *Grant) Settle(delta []int64) error {
	if g.shadow != nil {
		return g.shadow.settle(delta)
	}
	return g.controller.settle(&g.booking, delta)
}

// Feedback reports what the attempt taught to all processes. It has no effect for a grant of Shadow: a refusal of the provider
// that the limits would have prevented says nothing about a fleet that keeps them.
func (g *Grant) Feedback(f Feedback) {
	if g.shadow == nil {
		g.controller.feedback(g, &f)
	}
}
