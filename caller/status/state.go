package status

import (
	"slices"
	"time"

	"github.com/penstock/penstock/caller"
)

// State is what the page shows, as JSON. Times are in seconds.
type State struct {
	Pool     string     `json:"pool"`
	Time     time.Time  `json:"time"`
	Accounts []Account  `json:"accounts"`
	Limits   []Limit    `json:"limits"`
	Replicas []Replica  `json:"replicas"`
	Waiting  []Waiting  `json:"waiting"` // of all replicas, by priority and constraint
	History  []Interval `json:"history"` // oldest first; the last one is under way
	Last     Totals     `json:"last_15_minutes"`
	Clients  []Client   `json:"clients,omitempty"` // of a gateway, with ShowClients
	// InFlight and Calls are the sums over the replicas.
	InFlight     int `json:"in_flight"`
	CallsWaiting int `json:"calls_waiting"`
}

// Account is an account and its keys.
type Account struct {
	ID       string   `json:"id"`
	InFlight int      `json:"in_flight"`
	Permits  *float64 `json:"permits,omitempty"` // with an adaptive limit
	Keys     []Key    `json:"keys"`
}

// Key is a key's state.
type Key struct {
	ID     string `json:"id"`
	State  string `json:"state"` // ready, cooling_down, disabled or trial
	Reason string `json:"reason,omitempty"`
	// For is the time until the key is used or tried again. Missing where an operator has disabled the key.
	For *float64 `json:"for,omitempty"`
}

// Limit is how far a limit was used in the last minute; a daily limit, since its reset.
type Limit struct {
	Metric    string   `json:"metric"`
	Rate      int64    `json:"rate"`
	Period    float64  `json:"period"`
	Algorithm string   `json:"algorithm"`
	Models    []string `json:"models,omitempty"`
	Account   string   `json:"account,omitempty"`
	Key       string   `json:"key,omitempty"`
	Units     int64    `json:"units"`
	Share     float64  `json:"share"` // of what the limit allows in that time
	Pace      float64  `json:"pace"`  // share of its rate at which the pool uses it now
}

// Replica is a process.
type Replica struct {
	Name        string         `json:"name"`
	Seen        float64        `json:"seen"` // since its last report
	Uptime      float64        `json:"uptime"`
	InFlight    int            `json:"in_flight"`
	Waiting     int            `json:"waiting"`
	Held        map[string]int `json:"held,omitempty"`
	Drifted     bool           `json:"drifted"`
	Differences []string       `json:"differences,omitempty"`
	RedisError  string         `json:"redis_error,omitempty"`
}

// Waiting is calls of one priority that wait for the same thing.
type Waiting struct {
	Priority string   `json:"priority"` // high, normal or low
	For      string   `json:"for"`      // a metric, concurrency or cooldown; empty: not known yet
	Calls    int      `json:"calls"`
	Replicas int      `json:"replicas"`
	Until    *float64 `json:"until,omitempty"` // until the first of them is tried again
}

// Interval is what happened in 30 seconds.
type Interval struct {
	Begin     time.Time `json:"begin"`
	Succeeded int64     `json:"succeeded"`
	Failed    int64     `json:"failed"`
	Attempts  int64     `json:"attempts"`
	Throttled int64     `json:"throttled"`
	P50       float64   `json:"p50"`
	P95       float64   `json:"p95"`
	P99       float64   `json:"p99"`
}

// Totals are sums over the history.
type Totals struct {
	Succeeded int64   `json:"succeeded"`
	Failed    int64   `json:"failed"`
	Attempts  int64   `json:"attempts"`
	Throttled int64   `json:"throttled"`
	PerSecond float64 `json:"per_second"` // calls that ended, in the last complete interval
}

// forever is longer than any time after which a key is tried again by itself.
const forever = 365 * 24 * time.Hour

// newState returns what the page shows of a fleet.
func newState(f *caller.Fleet, now time.Time) *State {
	s := &State{
		Pool: f.Pool, Time: now, Accounts: accounts(f), Limits: limits(f), Waiting: waiting(f.Replicas), History: history(f.History),
		Replicas: make([]Replica, 0, len(f.Replicas)),
	}
	for i := range f.Replicas {
		r := &f.Replicas[i]
		out := Replica{
			Name: r.Name, Seen: r.Seen.Seconds(), Uptime: r.Uptime.Seconds(), InFlight: r.InFlight, Held: r.Held,
			Drifted: r.Drifted, Differences: r.Differences, RedisError: r.RedisError,
		}
		for _, w := range r.Waiting {
			out.Waiting += w.Calls
		}
		s.Replicas = append(s.Replicas, out)
		s.InFlight, s.CallsWaiting = s.InFlight+r.InFlight, s.CallsWaiting+out.Waiting
	}
	for i, h := range s.History {
		s.Last.Succeeded += h.Succeeded
		s.Last.Failed += h.Failed
		s.Last.Attempts += h.Attempts
		s.Last.Throttled += h.Throttled
		if i == max(0, len(s.History)-2) {
			s.Last.PerSecond = float64(h.Succeeded+h.Failed) / 30
		}
	}
	return s
}

func accounts(f *caller.Fleet) []Account {
	all := []Account{}
	for _, k := range f.Keys {
		at := slices.IndexFunc(all, func(a Account) bool { return a.ID == k.Account })
		if at < 0 {
			at = len(all)
			a := Account{ID: k.Account}
			for i := range f.Replicas {
				a.InFlight += f.Replicas[i].Held[k.Account]
			}
			if n, ok := f.Permits[k.Account]; ok {
				a.Permits = &n
			}
			all = append(all, a)
		}
		all[at].Keys = append(all[at].Keys, keyOf(&k))
	}
	return all
}

func keyOf(k *caller.KeyState) Key {
	out := Key{ID: k.ID, State: "ready", Reason: k.Reason}
	wait := max(k.CoolingDown, k.Disabled)
	switch {
	case k.Disabled > 0:
		out.State = "disabled"
	case k.Trial:
		out.State = "trial"
	case k.CoolingDown > 0:
		out.State = "cooling_down"
	}
	if wait > 0 && wait < forever {
		s := wait.Seconds()
		out.For = &s
	}
	return out
}

func limits(f *caller.Fleet) []Limit {
	all := make([]Limit, 0, len(f.Usage))
	for i, u := range f.Usage {
		out := Limit{
			Metric: string(u.Limit.Metric), Rate: u.Limit.Rate, Period: u.Limit.Period.Seconds(), Algorithm: string(u.Limit.Algorithm),
			Models: u.Limit.Models, Account: u.Account, Key: u.Key, Units: u.Units, Share: u.Share, Pace: 1,
		}
		if i < len(f.Limits) {
			out.Pace = f.Limits[i].Pace
		}
		all = append(all, out)
	}
	return all
}

var priorityNames = map[caller.Priority]string{caller.PriorityHigh: "high", caller.PriorityNormal: "normal", caller.PriorityLow: "low"}

// waiting adds up what the replicas' calls wait for.
func waiting(replicas []caller.Replica) []Waiting {
	all := []Waiting{}
	for i := range replicas {
		for _, w := range replicas[i].Waiting {
			name := priorityNames[w.Priority]
			at := slices.IndexFunc(all, func(o Waiting) bool { return o.Priority == name && o.For == w.For })
			if at < 0 {
				at = len(all)
				all = append(all, Waiting{Priority: name, For: w.For})
			}
			out := &all[at]
			out.Calls += w.Calls
			out.Replicas++
			left := max(0, w.Until-replicas[i].Seen).Seconds()
			if w.Until > 0 && (out.Until == nil || left < *out.Until) {
				out.Until = &left
			}
		}
	}
	order := []string{"high", "normal", "low"}
	slices.SortStableFunc(all, func(a, b Waiting) int {
		return slices.Index(order, a.Priority) - slices.Index(order, b.Priority)
	})
	return all
}

func history(all []caller.Interval) []Interval {
	out := make([]Interval, 0, len(all))
	for _, i := range all {
		out = append(out, Interval{
			Begin: i.Begin, Succeeded: i.Succeeded, Failed: i.Failed, Attempts: i.Attempts, Throttled: i.Throttled,
			P50: i.P50.Seconds(), P95: i.P95.Seconds(), P99: i.P99.Seconds(),
		})
	}
	return out
}
