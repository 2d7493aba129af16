package admission

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

// Wait is what the waiting calls of one priority wait for.
type Wait struct {
	Calls int
	// Constraint is the index of a limit or one of the constraints, as the last script call found it for the first of these
	// calls; NoConstraint: it didn't ask for them.
	Constraint int
	Until      time.Time // when it is tried again; zero: when a permit is released, or Redis answers
	Since      time.Time // when the first of these calls joined the queue
}

// NoConstraint is the constraint of calls that Redis hasn't answered about.
const NoConstraint = scripts.ConstraintNone

// blockedOf returns what delays the first waiter of each priority that a script call asked for and that is still waiting.
func blockedOf(x *exchange, reply *scripts.PoolReply) [Priorities]int {
	constraints := unknownConstraints()
	waiters := x.batch.waiters
	for i, d := range x.batch.demands {
		for _, w := range waiters[reply.Admitted[i]:d.Count] {
			if w.fifo != nil && constraints[w.Priority] == NoConstraint {
				constraints[w.Priority] = reply.Blocked[i]
				break
			}
		}
		waiters = waiters[d.Count:]
	}
	return constraints
}

// waits returns what the waiters of each priority wait for.
func (c *Controller) waits() (waits [Priorities]Wait) {
	for i := range waits {
		waits[i] = Wait{Calls: c.queue.waiting(i), Constraint: c.waitsFor[i], Since: c.queue.since(i)}
		switch {
		case c.failure != nil:
			waits[i].Constraint = NoConstraint
		case c.waitFor == forTime:
			waits[i].Until = c.nextAsk
		}
	}
	return waits
}

func unknownConstraints() (constraints [Priorities]int) {
	for i := range constraints {
		constraints[i] = NoConstraint
	}
	return constraints
}
