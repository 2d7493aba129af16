package caller

import (
	"context"
	"math"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
)

// State is the state of a pool that all processes share.
type State struct {
	Keys     []KeyState     // of this process's configuration
	Limits   []LimitState   // of its accounts and keys, and of the pool
	Sessions []SessionState // of all processes
	// Permits is the number of calls that each account may have in flight, by account, rounded down. It is empty without
	// Config.Adaptive. An account without samples is missing.
	Permits map[string]float64
	// LimitsVersion is the version of the limits that rule in place of the configuration, and Ruling what they say; 0: none
	// do. Limits has them already. LimitsError is why this process can't follow; nil: it can.
	LimitsVersion int64
	Ruling        LimitSet
	LimitsError   error
}

// KeyState is a key of this process's configuration.
type KeyState struct {
	ID, Account string
	// CoolingDown and Disabled are the time from now for which the key or its account isn't used; 0 for a key in use.
	// After Disabled one call tries the key. Until that call succeeds, Disabled isn't positive and Trial is set.
	CoolingDown, Disabled time.Duration
	Trial                 bool
	Reason                string // why the key isn't used
}

// Ready reports whether the key is in use.
func (k KeyState) Ready() bool { return k.CoolingDown <= 0 && k.Disabled <= 0 && !k.Trial }

// LimitState is the state of a limit of an account or key, or of the pool.
type LimitState struct {
	Limit   Limit
	Account string // empty for a limit of the pool
	Key     string // empty for a limit of an account or the pool
	// Booked is the time from now until the limit's theoretical arrival time (GCRA), when all that was used has been
	// refilled. At least 0. The burst can be used before.
	Booked time.Duration
	// Used is the units that can't be used now because calls have used them: of a Daily limit all since its last reset, of
	// another those that haven't been refilled. From 0 to Limit.Usable.
	Used int64
	Pace float64 // share of its rate at which the limit is used, up to 1: less after the provider reported too much use
}

// SessionState is a process that holds permits or waits.
type SessionState struct {
	Name    string         // Tuning.SessionName and a random suffix
	Waiting int            // calls that wait
	Ends    time.Duration  // time from now until the session ends, unless it is renewed
	Held    map[string]int // permits by account
}

// Inspect reads the state of the pool from Redis. It changes nothing.
func (c *Pool) Inspect(ctx context.Context) (*State, error) {
	s, err := c.admission.State(ctx)
	if err != nil {
		return nil, &Error{Pool: c.settings.Name, Err: err}
	}
	out := &State{Permits: s.Permits, LimitsVersion: s.LimitsVersion}
	ruling := c.settings.ruling()
	if s.LimitsVersion > ruling.version { // this process will follow with its next call
		set, failure := c.settings.decodeLimits(s.LimitsText)
		if failure == nil {
			ruling, failure = c.settings.rulesOr(ruling, s.LimitsVersion, set)
		}
		out.LimitsError = failure
	}
	out.Ruling = ruling.set
	for _, k := range s.Keys {
		out.Keys = append(out.Keys, KeyState(k))
	}
	for _, l := range s.Limits {
		out.Limits = append(out.Limits, LimitState{
			Limit: ruling.limits[l.Limit], Account: l.Account, Key: l.Key, Booked: l.Booked, Used: ruling.used(&l), Pace: l.Pace,
		})
	}
	for _, its := range s.Sessions {
		out.Sessions = append(out.Sessions, SessionState(its))
	}
	return out, nil
}

// used returns the units of a limit that can't be used now because calls have used them.
func (r *rules) used(l *admission.LimitState) int64 {
	interval := r.params[l.Limit].interval
	if interval == 0 { // a daily count
		return l.Used
	}
	return min(int64(math.Ceil(l.Booked.Seconds()*l.Pace/interval)), r.limits[l.Limit].Usable())
}
