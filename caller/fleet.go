package caller

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/penstock/penstock/caller/internal/history"
	"github.com/penstock/penstock/scripts"
)

// Fleet is a pool as all its processes report it. A process reports with its first call and then every ten seconds while
// anything changes, so counts are behind by up to that.
type Fleet struct {
	State
	Pool     string
	Replicas []Replica // in the order of their names
	// Usage is how far each limit was used in the last minute, by all processes. Its order is that of State.Limits.
	Usage []LimitUsage
	// History is what happened in the last 15 minutes, in intervals of 30 seconds, oldest first. The last one is under way.
	History []Interval
}

// Replica is a process of the pool.
type Replica struct {
	Name    string
	Seen    time.Duration // since its last report
	Uptime  time.Duration // since its first call, at the time of the report
	Waiting []Waiting     // by priority, highest first; without the priorities that no call waits with
	// InFlight is the number of calls that are admitted and not over.
	InFlight int
	Held     map[string]int // permits by account, as Redis counts them
	// Drifted says that its configuration is another one than that of most processes. Differences name what differs.
	Drifted     bool
	Differences []string
	// LimitsVersion is the version of the limits that it followed at its last report; 0: those that it is configured with.
	LimitsVersion int64
	// RedisError is why the last call to Redis failed; empty: it succeeded.
	RedisError string
}

// Waiting is what the waiting calls of one priority wait for.
type Waiting struct {
	Priority Priority
	Calls    int
	// For is the constraint: a metric, ConstraintConcurrency or ConstraintCooldown. Empty: Redis hasn't answered yet.
	For string
	// Until is the time from the report until it is tried again. 0: when a permit is released, or Redis answers.
	Until time.Duration
	// Longest is for how long the first of these calls had waited at the time of the report.
	Longest time.Duration
}

// LimitUsage is how far a limit was used in the last minute.
type LimitUsage struct {
	Limit        Limit
	Account, Key string  // as in LimitState
	Units        int64   // used in the last minute; of a Daily limit, since its last reset
	Share        float64 // of what the limit allows in that time
}

// Interval is what all processes did in 30 seconds.
type Interval struct {
	Begin             time.Time
	Succeeded, Failed int64 // calls that ended
	Attempts          int64
	Throttled         int64         // attempts that exceeded a limit of the provider
	P50, P95, P99     time.Duration // latency of the calls that succeeded, waits included; at most 5 % too long
}

// Fleet reads from Redis what all processes of the pool report. It changes nothing.
func (c *Pool) Fleet(ctx context.Context) (*Fleet, error) {
	state, err := c.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	texts, configs, err := scripts.ReadPoolSummaries(ctx, c.redis, c.settings.Name)
	if err != nil {
		return nil, &Error{Pool: c.settings.Name, Err: err}
	}
	f := &Fleet{State: *state, Pool: c.settings.Name}
	var all []summary
	for _, t := range texts {
		var s summary
		if json.Unmarshal([]byte(t.Text), &s) == nil {
			s.name, s.age, s.digest = t.Session, t.Age, t.Digest
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b summary) int { return cmp.Compare(a.name, b.name) })
	held := map[string]map[string]int{}
	for _, s := range state.Sessions {
		held[s.Name] = s.Held
	}
	usual := mostCommon(all)
	for i := range all {
		r := all[i].replica()
		r.Held = held[r.Name]
		if r.Drifted = all[i].digest != usual; r.Drifted {
			r.Differences = differences(configs[usual], configs[all[i].digest])
		}
		if all[i].age < replicaGone || len(r.Held) > 0 {
			f.Replicas = append(f.Replicas, r)
		}
	}
	f.Usage = c.usage(state, all)
	f.History = merge(all)
	return f, nil
}

// replicaGone is the time after which a process that doesn't report is no longer listed. Its history still counts.
const replicaGone = 3 * summaryEvery * idleFactor

// mostCommon returns the digest of the configuration that most processes have.
func mostCommon(all []summary) string {
	count := map[string]int{}
	var usual string
	for i := range all {
		if all[i].age >= replicaGone {
			continue
		}
		d := all[i].digest
		count[d]++
		if count[d] > count[usual] || usual == "" {
			usual = d
		}
	}
	return usual
}

// usage adds up the use of each limit.
func (c *Pool) usage(state *State, all []summary) []LimitUsage {
	type counter struct{ limit, account, key string }
	used := map[counter]int64{}
	for i := range all {
		if all[i].age > time.Minute {
			continue
		}
		for _, u := range all[i].Used {
			used[counter{u.Limit, u.Account, u.Key}] += u.Units
		}
	}
	out := make([]LimitUsage, 0, len(state.Limits))
	for _, l := range state.Limits {
		u := LimitUsage{Limit: l.Limit, Account: l.Account, Key: l.Key}
		allowed := float64(l.Limit.Usable())
		if l.Limit.Algorithm == Daily {
			u.Units = l.Used
		} else {
			u.Units = used[counter{l.Limit.id(), l.Account, l.Key}]
			allowed *= time.Minute.Seconds() / l.Limit.Period.Seconds()
		}
		u.Share = float64(u.Units) / allowed
		out = append(out, u)
	}
	return out
}

// merge adds up histories.
func merge(all []summary) []Interval {
	slots := map[int64]*history.Slot{}
	for i := range all {
		for n := range all[i].Slots {
			s := &all[i].Slots[n]
			if slots[s.Number] == nil {
				slots[s.Number] = &history.Slot{Number: s.Number}
			}
			slots[s.Number].Merge(s)
		}
	}
	out := make([]Interval, 0, len(slots))
	for _, number := range slices.Sorted(maps.Keys(slots)) {
		s := slots[number]
		out = append(out, Interval{
			Begin: s.Begins(), Succeeded: s.Counts[history.Succeeded], Failed: s.Counts[history.Failed],
			Attempts: s.Counts[history.Attempts], Throttled: s.Counts[history.Throttled],
			P50: s.Quantile(0.5), P95: s.Quantile(0.95), P99: s.Quantile(0.99),
		})
	}
	return out
}
