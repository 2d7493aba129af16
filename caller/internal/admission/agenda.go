package admission

import "time"

// state is a state of the loop.
type state uint8

// States of the loop.
const (
	idle      state = iota // no reason is due at any time; no timer
	scheduled              // a timer runs to the earliest reason, not before retryAt
	lingering              // a reason is due; the loop yields so that goroutines just woken can join
	calling                // one script call in flight; arrivals gather for the next
	stopped                // drained after Close
)

// waitFor is what the waiters in the queue wait for.
type waitFor uint8

// Values of waitFor.
const (
	forCall   waitFor = iota // a script call at once
	forTime                  // nextAsk
	forPermit                // a permit, or nextAsk as a poll
)

// reason is a reason to call Redis.
type reason uint8

// Reasons to call Redis.
const (
	admit     reason = iota // calls wait for admission
	deliver                 // the outbox has an urgent report
	settle                  // the outbox has other reports
	sample                  // an account has samples
	release                 // permits were released that Redis still counts
	withdraw                // Redis counts waiters and the queue is empty
	heartbeat               // Redis counts permits or waiters
	leave                   // draining, and no call is in flight
	reasons
)

const (
	// reportDelay is the time after which Redis gets a report that isn't urgent, if no other call takes it along.
	reportDelay = 20 * time.Millisecond
	// pollInterval is the mean time between polls for a permit of another process, should no message come.
	pollInterval = 250 * time.Millisecond
	// longWait is the longest time that a new call waits for the scheduled ask. Beyond it the new call triggers an ask of
	// its own.
	longWait = time.Second
	// maxCloseAttempts bounds the script calls after Close that fail.
	maxCloseAttempts = 3
)

// agenda is what the reasons to call Redis are derived from. It is made anew each time from the parts that have these
// facts, so that no reason is left over.
type agenda struct {
	waiting       int       // length of the queue
	waitFor       waitFor   // what the queue waits for
	nextAsk       time.Time // for forTime and forPermit
	urgent        bool      // the outbox has an urgent report
	pending       bool      // the outbox isn't empty
	pendingSince  time.Time // when its oldest report was added
	samplesDue    time.Time // the earliest of all accounts; zero: there are none
	permits       permits
	ttl           time.Duration // of the session
	draining      bool          // after Close
	closeAttempts int           // script calls that failed since Close
	retryAt       time.Time     // not before: the backoff after a failure
}

// due returns when a reason to call Redis is due, if it exists.
func (a *agenda) due(r reason) (at time.Time, ok bool) {
	p := &a.permits
	switch r {
	case admit:
		if a.waitFor == forCall {
			return time.Time{}, a.waiting > 0
		}
		return a.nextAsk, a.waiting > 0
	case deliver:
		return time.Time{}, a.urgent
	case settle:
		return a.pendingSince.Add(reportDelay), a.pending
	case sample:
		return a.samplesDue, !a.samplesDue.IsZero()
	case release:
		if p.contended {
			return p.unreportedSince, p.limited && !p.unreportedSince.IsZero()
		}
		return p.unreportedSince.Add(reportDelay), p.limited && !p.unreportedSince.IsZero()
	case withdraw:
		return p.lastCallAt.Add(reportDelay), p.reportedWaiting > 0 && a.waiting == 0
	case heartbeat:
		return p.lastCallAt.Add(a.ttl / 3), p.counted()
	case leave:
		return time.Time{}, a.draining && p.inFlight == 0
	default:
		return time.Time{}, false
	}
}

// next returns the state that the loop goes into, and for scheduled when it ends.
func (a *agenda) next(now time.Time) (s state, until time.Time) {
	if a.drained() {
		return stopped, time.Time{}
	}
	found := false
	for r := range reasons {
		if at, ok := a.due(r); ok && (!found || at.Before(until)) {
			found, until = true, at
		}
	}
	if !found {
		return idle, time.Time{}
	}
	if until.Before(a.retryAt) {
		until = a.retryAt
	}
	if until.After(now) {
		return scheduled, until
	}
	return lingering, time.Time{}
}

// drained reports whether Close has nothing left to wait for: no call is in flight, and Redis has confirmed everything or
// failed too often.
func (a *agenda) drained() bool {
	confirmed := !a.permits.counted() && !a.pending
	return a.draining && a.permits.inFlight == 0 && (confirmed || a.closeAttempts >= maxCloseAttempts)
}

// replied is what planNextAsk goes by after a reply.
type replied struct {
	waiting           int           // waiters that were asked for and not admitted
	onlyUnservable    bool          // waiters were refused as unservable, and none is left of those that were asked for
	askAgain          bool          // a waiter joined during the call that can't wait
	arrivedMeanwhile  bool          // any waiter joined during the call
	releasedMeanwhile bool          // a permit was released during the call
	permitHelps       bool          // the reply says that a permit may help
	untimed           bool          // the reply can't say when it is worth asking again
	wake              time.Duration // when it is, from now on
	poll              time.Duration // the time to the next poll, with jitter
	least             time.Duration // least time between two asks
}

// planNextAsk returns what the queue waits for after a reply, and when to ask for forTime and forPermit.
func planNextAsk(now time.Time, r *replied) (waitFor, time.Time) {
	permit := r.waiting > 0 && r.permitHelps
	switch {
	case r.waiting == 0, r.onlyUnservable: // the rest of the queue wasn't asked for
		return forCall, time.Time{}
	case r.askAgain, r.arrivedMeanwhile && r.wake > longWait, permit && r.releasedMeanwhile:
		return forCall, time.Time{}
	case r.untimed && permit:
		return forPermit, now.Add(r.poll)
	case r.untimed:
		return forTime, now.Add(r.poll)
	case permit:
		return forPermit, now.Add(min(max(r.wake, r.least), r.poll))
	default:
		return forTime, now.Add(max(r.wake, r.least))
	}
}
