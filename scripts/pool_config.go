package scripts

import "time"

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
	Tenants     []PoolTenant // that the calls are of; nil: of none. All processes need some, or none
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
	Name  string // unique among the limits of its scope and Account
	Scope LimitScope
	// Account is the ID of the only account that has the limit, where it replaces the one of the same Name and Scope without
	// an Account. Empty: every account has the limit. Not with PerPool.
	Account  string
	Metric   int     // index in a cost
	Interval float64 // seconds per unit
	Burst    int64   // units
	Limit    int64   // units that any single call may cost
	Grows    bool    // the burst of a window grows to what calls cost, up to a quarter of Limit
	End      int64   // 0: GCRA; else Burst units may be used until then, in microseconds since 2017
	// Period is how long a unit counts at the provider: a refund of an older charge has no effect. Defaults to Limit×Interval.
	Period time.Duration
}

// PoolModelGroup is the models that the same limits count.
type PoolModelGroup struct {
	Name   string
	Limits []int // indices in PoolConfig.Limits
	// Accounts are the accounts that have the models: for each index in PoolConfig.Accounts whether it has. nil: all have.
	Accounts []bool
}

// PoolAccount is what the provider counts, and its keys.
type PoolAccount struct {
	ID          string
	Keys        []PoolKeyWeight
	Concurrency int // calls in flight; 0: as PoolConfig says
	Weight      int // share of the calls; 0: the greatest weight of its keys
}

// PoolKeyWeight is a key and its share of the calls. A target has the greatest weight of its keys.
type PoolKeyWeight struct {
	ID     string
	Weight int // at least 1
}

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
