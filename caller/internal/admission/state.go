package admission

import (
	"errors"
	"maps"
	"time"

	"github.com/penstock/penstock/scripts"
)

// Stats is what this process did so far.
type Stats struct {
	Waiting     int   // calls that wait for admission now
	InFlight    int   // calls that are admitted and not over now
	SlotsMissed int64 // send times given up because this process was late
	// BlockedBy is the time for which calls waited for each constraint: the index of a limit, ConstraintPermits or
	// ConstraintCooldown. It is time on the clock and not a sum over calls.
	BlockedBy map[int]time.Duration
	// ScriptCalls is the number of script calls, and ScriptCallsFailed that of those without a reply.
	ScriptCalls, ScriptCallsFailed int64
	StatesLost                     int64            // losses of writes that were found
	RedisFailing                   time.Duration    // time in which every script call failed
	Waits                          [Priorities]Wait // by priority
	Failure                        error            // of the last script call; nil: it succeeded
	LimitsVersion                  int64            // that this process follows; 0: as configured
	Used                           []Used           // of each limit in the last minute
}

// blocked adds up the time for which calls wait for each constraint.
type blocked struct {
	constraint int
	from       time.Time
	until      time.Time // zero: until the next reply
	total      map[int]time.Duration
}

// by records what calls wait for from now on, until a time or, if that is zero, until the next reply.
func (b *blocked) by(constraint int, now, until time.Time) {
	b.count(now)
	b.constraint, b.until = constraint, until
}

// count adds the time up to now.
func (b *blocked) count(now time.Time) {
	end := now
	if !b.until.IsZero() && b.until.Before(end) {
		end = b.until
	}
	if (b.constraint >= ConstraintCooldown) && end.After(b.from) { // the constraints below are none to wait for
		if b.total == nil {
			b.total = map[int]time.Duration{}
		}
		b.total[b.constraint] += end.Sub(b.from)
	}
	b.from = now
}

// read returns the time up to now.
func (b *blocked) read(now time.Time) map[int]time.Duration {
	b.count(now)
	return maps.Clone(b.total)
}

// countCall counts a script call.
func (c *Controller) countCall(err error) {
	c.scriptCalls++
	switch {
	case isLimits(err):
	case errors.Is(err, scripts.ErrLost):
		c.statesLost++
	case err != nil:
		c.scriptCallsFailed++
	}
}

// isLimits reports whether an error says that other limits rule: the script call is repeated with these.
func isLimits(err error) bool {
	_, ok := errors.AsType[*scripts.LimitsError](err)
	return ok
}

// State is the state of a pool that all processes share.
type State struct {
	Keys     []KeyState
	Limits   []LimitState
	Sessions []SessionState
	// LimitsVersion and LimitsText are what rules in place of the configuration; 0: nothing does.
	LimitsVersion int64
	LimitsText    string
	Permits       map[string]float64 // calls in flight that each account may have; empty without an adaptive limit
}

// KeyState is a key of this process's configuration.
type KeyState struct {
	ID, Account string
	// CoolingDown and Disabled are the time from now for which the key or its account isn't used.
	CoolingDown, Disabled time.Duration
	Trial                 bool   // the key is disabled, and the next call, or one in flight, tries it
	Reason                string // of either
}

// LimitState is a limit of an account or key, or of the pool.
type LimitState struct {
	Limit        int           // index of the limit
	Account, Key string        // empty: not an account's, not a key's own
	Booked       time.Duration // time from now until the limit is free
	Used         int64         // units of a daily count
	Pace         float64       // share of its pace at which the limit is used
}

// SessionState is a process that holds permits or waits.
type SessionState struct {
	Name    string
	Waiting int            // calls
	Ends    time.Duration  // from now
	Held    map[string]int // permits by account
}

// state returns the state of the topology's keys and limits.
func (t *topology) state(s *scripts.PoolState) *State {
	out := &State{Permits: s.Permits, LimitsVersion: s.LimitsVersion, LimitsText: s.Limits}
	for _, a := range t.accounts {
		for _, k := range a.Keys {
			out.Keys = append(out.Keys, keyState(s, k.ID, a.ID))
		}
	}
	for i := range t.counters {
		out.Limits = append(out.Limits, limitState(s, &t.counters[i]))
	}
	for name, session := range s.Sessions {
		out.Sessions = append(out.Sessions, SessionState{
			Name: name, Waiting: session.Waiting, Ends: session.Ends, Held: session.Held,
		})
	}
	return out
}

// keyState merges the blocks of a key and its account.
func keyState(s *scripts.PoolState, key, accountID string) KeyState {
	out := KeyState{ID: WithoutFingerprint(key), Account: accountID}
	for _, name := range []string{
		scripts.AccountBlock(accountID, ""), scripts.KeyBlock(key), scripts.KeyBlock(WithoutFingerprint(key)),
	} {
		b, ok := s.Blocks[name]
		switch {
		case !ok:
		case b.Off:
			out.Disabled, out.Trial, out.Reason = max(out.Disabled, b.Until), out.Trial || b.Until <= 0, b.Reason
		case b.Until > 0:
			out.CoolingDown, out.Reason = max(out.CoolingDown, b.Until), b.Reason
		}
	}
	return out
}

func limitState(s *scripts.PoolState, c *counter) LimitState {
	out := LimitState{Limit: c.limit, Account: c.account, Key: WithoutFingerprint(c.key), Pace: 1}
	if known, ok := s.Counters[c.name]; ok {
		out.Booked, out.Pace = max(0, known.Ahead), known.Pace
		if known.Ends > 0 {
			out.Used = known.Used
		}
	}
	return out
}
