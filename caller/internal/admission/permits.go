package admission

import "time"

// permits are the calls in flight of this process, and what Redis believes of them.
type permits struct {
	limited  bool // accounts have a limit on calls in flight
	inFlight int  // calls admitted and not over, of all accounts

	reportedHeld    int       // permits that Redis counts for this process
	reportedWaiting int       // waiters that Redis counts for this process
	lastCallAt      time.Time // when the last successful script call was sent
	contended       bool      // calls of other sessions wait
	unreportedSince time.Time // when the first permit was released that Redis still counts; zero: none
}

// take counts a call that is admitted.
func (p *permits) take(t *tally) {
	t.held++
	t.samples.admitted(t.held)
	p.inFlight++
}

// release counts a call that is over.
func (p *permits) release(t *tally) {
	t.held--
	p.inFlight--
}

// unused records that from now on Redis counts a permit that no call has.
func (p *permits) unused(now time.Time) {
	if p.unreportedSince.IsZero() {
		p.unreportedSince = now
	}
}

// reporting is for a script call that reports the permits held: it returns their number by account and in all.
func (p *permits) reporting(accounts []*account) (held []int, all int) {
	p.unreportedSince = time.Time{}
	if !p.limited {
		return nil, 0
	}
	held = make([]int, len(accounts))
	for i, a := range accounts {
		held[i] = a.held
	}
	return held, p.inFlight
}

// reported is for a script call, sent at a time, that succeeded: it reported held permits, was granted some, and left
// some waiters without a grant. contended says that calls of other sessions wait.
func (p *permits) reported(sent time.Time, held, granted, waiting int, contended bool) {
	p.lastCallAt, p.contended = sent, contended
	p.reportedHeld, p.reportedWaiting = 0, waiting
	if p.limited {
		p.reportedHeld = held + granted
	}
}

// unknown is for a script call that asked for waiters, and whose outcome is unknown: Redis may count them as waiting.
func (p *permits) unknown(waiters int) { p.reportedWaiting = max(p.reportedWaiting, waiters) }

// counted reports whether Redis counts permits or waiters of this process.
func (p *permits) counted() bool { return p.reportedHeld+p.reportedWaiting > 0 }
