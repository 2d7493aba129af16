package caller

import (
	"context"
	"time"
)

// State is what the fleet knows of a pool.
type State struct {
	Keys     []KeyState
	Limits   []LimitState
	Sessions []SessionState
	// Permits is how many calls each account may have in flight, where Config.Adaptive makes that follow what calls meet;
	// an account of which nothing is known yet is missing. Its whole part counts.
	Permits map[string]float64
}

// KeyState is a key of this process's configuration.
type KeyState struct {
	ID, Account string
	// CoolingDown and Disabled are for how long, from now, the key or its account isn't used. A key that is disabled is
	// then tried by one call; until that succeeds, Disabled isn't positive and Trial is set. Both are 0 for a key in use.
	CoolingDown, Disabled time.Duration
	Trial                 bool
	Reason                string // of either
}

// Ready reports whether the key is in use.
func (k KeyState) Ready() bool { return k.CoolingDown <= 0 && k.Disabled <= 0 && !k.Trial }

// LimitState is a limit of an account or key, or of the pool.
type LimitState struct {
	Limit   Limit
	Account string // empty for a limit of the pool
	Key     string // empty for a limit of an account or the pool
	// Booked is how far ahead of now the limit is used up: 0 where the next unit may be used now, 10 s where it may in
	// 10 s, less what the burst allows at once.
	Booked time.Duration
	Used   int64   // units of a Daily limit used since it started anew
	Pace   float64 // share of its pace at which the limit is used; less than 1 after the provider said it was too much
}

// SessionState is a process that holds permits or waits.
type SessionState struct {
	Name    string // Config.Session and a random suffix
	Waiting int    // calls
	Ends    time.Duration
	Held    map[string]int // permits by account
}

// Inspect asks Redis what the fleet knows of the pool. It changes nothing.
func (c *Pool) Inspect(ctx context.Context) (*State, error) {
	s, err := c.admission.State(ctx)
	if err != nil {
		return nil, &Error{Pool: c.plan.Name, Err: err}
	}
	out := &State{Permits: s.Permits}
	for _, k := range s.Keys {
		out.Keys = append(out.Keys, KeyState(k))
	}
	for _, l := range s.Limits {
		out.Limits = append(out.Limits, LimitState{
			Limit: c.plan.Limits[l.Limit], Account: l.Account, Key: l.Key, Booked: l.Booked, Used: l.Used, Pace: l.Pace,
		})
	}
	for _, its := range s.Sessions {
		out.Sessions = append(out.Sessions, SessionState(its))
	}
	return out, nil
}
