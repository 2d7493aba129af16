package scripts

import (
	"slices"
	"strconv"
	"time"
)

// PoolConfig is what one process says of a pool with every call, and what changes only with the configuration.
//
// Its lanes are the ways that a call can take: keys that share all their limits, for one family of models. The lanes of
// a family are the accounts, or if some limit is each key's, the keys. A lane's index counts them by family, and in each
// by account and key.
type PoolConfig struct {
	Session     string
	TTL         time.Duration // until the session ends unless it calls again
	Horizon     time.Duration // how far ahead a place may be booked
	Strategy    Strategy
	Metrics     int // how many metrics a cost has
	Concurrency int // calls in flight that each account may have, over all processes; 0: any number
	// Adaptive makes that number follow what calls meet, with Concurrency as its upper bound. Its OK, Dropped, Total and
	// Peak don't count here. nil: it is Concurrency.
	Adaptive    *SemaphoreAdaptive
	Limits      []PoolLimit
	ModelGroups []PoolModelGroup
	Accounts    []PoolAccount
}

// Strategy says which of the lanes that can serve a call now is taken. Where none can, it is the one that can first.
type Strategy string

// Strategies.
const (
	LeastLoaded    Strategy = "least_loaded"    // the one that has been ready for longest, times its weight
	RoundRobin     Strategy = "round_robin"     // in turn, by weight
	FirstAvailable Strategy = "first_available" // the first
)

// LimitScope is what has a limit.
type LimitScope string

// Scopes of limits.
const (
	PerAccount LimitScope = "account"
	PerKey     LimitScope = "key"
	PerPool    LimitScope = "pool"
)

// PoolLimit is one limit, for each account, each key or the pool: GCRA, or a count that starts anew at a given time.
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

// PoolFamily is the models that the same limits count.
type PoolModelGroup struct {
	Name   string
	Limits []int // indices in PoolConfig.Limits
}

// PoolAccount is what the provider counts, and its keys.
type PoolAccount struct {
	ID   string
	Keys []PoolKeyWeight
}

// PoolKeyWeight is a key, and how much of the calls it gets. A lane has the greatest weight of its keys.
type PoolKeyWeight struct {
	ID     string
	Weight int // at least 1
}

// PoolShape is a PoolConfig made ready for sending. It is safe for concurrent use.
type EncodedConfig struct {
	args    []any
	metrics int
	lanes   []int // of each family, in order: how many keys each has
}

// NewPoolShape makes a PoolConfig ready for sending.
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
			s.lanes = append(s.lanes, 1)
		}
	}
	if !byKey {
		s.lanes = append(s.lanes, len(a.Keys))
	}
}

// weigh adds the weights of lanes, unless all are 1.
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

// has reports whether there is such a lane in a family, and such a key.
func (s *EncodedConfig) has(lane, key int) bool {
	return lane >= 0 && lane < len(s.lanes) && key >= 0 && key < s.lanes[lane]
}

// local returns what the script calls a lane of a family: its number in that, from 1.
func (s *EncodedConfig) local(family, lane int) int { return lane - family*len(s.lanes) + 1 }

// KeyBlock names the block of a key.
func KeyBlock(key string) string { return "k:" + wireName(key) }

// AccountBlock names the block of an account, or with a family of models of that family alone.
func AccountBlock(account, family string) string {
	if family == "" {
		return "a:" + wireName(account)
	}
	return "m:" + wireName(account) + ":" + wireName(family)
}

// LaneName names the lane of an account for a family of models, and of one key alone where key isn't empty.
func TargetName(account, family, key string) string {
	return wireName(account) + ":" + wireName(family) + ":" + wireName(key)
}

// PoolLimitName names the counter of a limit of the whole pool.
func PoolLimitName(limit string) string { return ":" + wireName(limit) }

// AccountLimitName names the counter of an account's limit.
func AccountLimitName(account, limit string) string { return wireName(account) + ":" + wireName(limit) }

// KeyLimitName names the counter of a key's limit.
func KeyLimitName(key, limit string) string { return "k:" + wireName(key) + ":" + wireName(limit) }
