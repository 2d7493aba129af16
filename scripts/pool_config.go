package scripts

import (
	"slices"
	"strconv"
	"time"
)

// PoolConfig is the part of a call that changes only with the configuration of a process.
//
// A target is what a call can be sent with: keys that share all their limits, for one model group. The targets of a model
// group are the accounts, or the keys if some limit is per key. The index of a target counts model groups, in each the
// accounts, and in each of these the keys.
type PoolConfig struct {
	Session     string
	TTL         time.Duration // until the session ends unless it calls again
	Horizon     time.Duration // how far ahead a call may be booked
	Strategy    Strategy
	Metrics     int // how many metrics a cost has
	Concurrency int // calls in flight that each account may have, over all processes; 0: any number
	// Adaptive makes the number of permits of an account follow its samples, up to Concurrency. Its OK, Dropped, Total and
	// Peak aren't used. nil: the number is Concurrency.
	Adaptive    *SemaphoreAdaptive
	Limits      []PoolLimit
	ModelGroups []PoolModelGroup
	Accounts    []PoolAccount
}

// Strategy chooses among the targets that can serve a call now. If none can, the target that can serve it first is chosen.
type Strategy string

// Values of Strategy.
const (
	LeastLoaded    Strategy = "least_loaded"    // the target that has been ready for longest, times its weight
	RoundRobin     Strategy = "round_robin"     // in turn, by weight
	FirstAvailable Strategy = "first_available" // the first
)

// LimitScope is what has a limit of its own.
type LimitScope string

// Values of LimitScope.
const (
	PerAccount LimitScope = "account"
	PerKey     LimitScope = "key"
	PerPool    LimitScope = "pool"
)

// PoolLimit is one limit of each account, each key or the pool: a GCRA limit, or a count that starts anew at a given time.
type PoolLimit struct {
	Name     string // unique among the limits of its scope
	Scope    LimitScope
	Metric   int     // index in a cost
	Interval float64 // seconds per unit
	Burst    int64   // units
	Limit    int64   // units that any single call may cost
	Grows    bool    // the burst of a window grows to what calls cost, up to a quarter of Limit
	End      int64   // 0: GCRA; else Burst units may be used until then, in microseconds since 2017
}

// PoolModelGroup is the models that the same limits count.
type PoolModelGroup struct {
	Name   string
	Limits []int // indices in PoolConfig.Limits
}

// PoolAccount is what the provider counts, and its keys.
type PoolAccount struct {
	ID   string
	Keys []PoolKeyWeight
}

// PoolKeyWeight is a key and its share of the calls. A target has the greatest weight of its keys.
type PoolKeyWeight struct {
	ID     string
	Weight int // at least 1
}

// EncodedConfig is a PoolConfig encoded for sending. It is safe for concurrent use.
type EncodedConfig struct {
	args    []any
	metrics int
	targets []int // of each group, in order: how many keys each has
}

// EncodeConfig encodes a PoolConfig.
func EncodeConfig(c *PoolConfig) *EncodedConfig {
	s := &EncodedConfig{metrics: c.Metrics}
	s.text(c.Session)
	s.fraction(c.TTL.Seconds())
	s.fraction(c.Horizon.Seconds())
	s.text(string(c.Strategy))
	s.number(c.Metrics)
	s.number(c.Concurrency)
	s.adaptive(c.Adaptive)
	byKey := false
	s.number(len(c.Limits))
	for i := range c.Limits {
		s.limit(&c.Limits[i])
		byKey = byKey || c.Limits[i].Scope == PerKey
	}
	s.number(len(c.ModelGroups))
	for _, f := range c.ModelGroups {
		s.text(f.Name)
		s.number(len(f.Limits))
		for _, i := range f.Limits {
			s.number(i + 1)
		}
	}
	s.number(len(c.Accounts))
	for _, a := range c.Accounts {
		s.account(a, byKey)
	}
	s.weigh(c.Accounts, byKey)
	return s
}

func (s *EncodedConfig) text(v string) { s.args = append(s.args, wireName(v)) }
func (s *EncodedConfig) number(v int)  { s.args = append(s.args, strconv.Itoa(v)) }
func (s *EncodedConfig) fraction(v float64) {
	s.args = append(s.args, strconv.FormatFloat(v, 'g', -1, 64))
}

func (s *EncodedConfig) adaptive(a *SemaphoreAdaptive) {
	if a == nil {
		s.number(0)
		return
	}
	s.number(1)
	latency := 0
	if a.Gradient {
		latency = 1
	}
	s.number(latency)
	s.number(int(a.Min))
	s.number(int(a.Initial))
	s.fraction(a.Backoff)
	s.number(int(a.Every.Microseconds()))
	s.fraction(a.Tolerance)
	s.fraction(a.Smoothing)
	s.fraction(a.Queue)
}

func (s *EncodedConfig) limit(l *PoolLimit) {
	s.text(l.Name)
	s.text(string(l.Scope))
	s.number(l.Metric + 1)
	s.fraction(l.Interval)
	s.number(int(l.Burst))
	s.number(int(l.Limit))
	grows := 0
	if l.Grows {
		grows = 1
	}
	s.number(grows)
	if l.End == 0 {
		s.number(0)
	} else {
		s.args = append(s.args, seconds(l.End))
	}
}

func (s *EncodedConfig) account(a PoolAccount, byKey bool) {
	s.text(a.ID)
	s.number(len(a.Keys))
	for _, k := range a.Keys {
		s.text(k.ID)
		if byKey {
			s.targets = append(s.targets, 1)
		}
	}
	if !byKey {
		s.targets = append(s.targets, len(a.Keys))
	}
}

// weigh adds the weights of targets, unless all are 1.
func (s *EncodedConfig) weigh(accounts []PoolAccount, byKey bool) {
	var weights []int
	for _, a := range accounts {
		most := 1
		for _, k := range a.Keys {
			most = max(most, k.Weight)
			if byKey {
				weights = append(weights, max(1, k.Weight))
			}
		}
		if !byKey {
			weights = append(weights, most)
		}
	}
	if !slices.ContainsFunc(weights, func(w int) bool { return w != 1 }) {
		s.number(0)
		return
	}
	s.number(len(weights))
	for _, w := range weights {
		s.number(w)
	}
}

// has reports whether a model group has such a target, and that target such a key.
func (s *EncodedConfig) has(target, key int) bool {
	return target >= 0 && target < len(s.targets) && key >= 0 && key < s.targets[target]
}

// local returns the script's number of a target: within its model group, from 1.
func (s *EncodedConfig) local(group, target int) int { return target - group*len(s.targets) + 1 }

// KeyBlock names the block of a key.
func KeyBlock(key string) string { return "k:" + wireName(key) }

// AccountBlock names the block of an account. With a model group, it names the block of that group on the account.
func AccountBlock(account, group string) string {
	if group == "" {
		return "a:" + wireName(account)
	}
	return "m:" + wireName(account) + ":" + wireName(group)
}

// TargetName names the target of an account for a model group, or of one key where key isn't empty.
func TargetName(account, group, key string) string {
	return wireName(account) + ":" + wireName(group) + ":" + wireName(key)
}

// PoolLimitName names the counter of a limit of the whole pool.
func PoolLimitName(limit string) string { return ":" + wireName(limit) }

// AccountLimitName names the counter of an account's limit.
func AccountLimitName(account, limit string) string { return wireName(account) + ":" + wireName(limit) }

// KeyLimitName names the counter of a key's limit.
func KeyLimitName(key, limit string) string { return "k:" + wireName(key) + ":" + wireName(limit) }
