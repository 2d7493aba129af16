package admission

import (
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/scripts"
)

// Config describes a pool as admission works with it. It has been checked: see caller's settings.
type Config struct {
	Pool        string        // name of the pool in Redis
	Session     string        // name of this process in the pool, different from that of every other session
	SessionTTL  time.Duration // time for which the permits of a dead process stay taken
	Accounts    []Account     // at least one
	Limits      []Limit
	Metrics     int       // number of metrics that a call has units of
	Tenants     []Tenant  // that a Request may name; the first is the default
	Concurrency int       // calls in flight of each account, over all processes; 0: no limit
	Adaptive    *Adaptive // how that number follows the samples, with Concurrency as upper bound; nil: it doesn't
	Strategy    Strategy

	RampUp        time.Duration // from the pool's first start until its limits run at their whole pace; 0: at once
	ArrivalJitter time.Duration // how much longer one call may take to the provider than another
	Horizon       time.Duration // how far ahead of now a call of the highest priority may be booked
	Aging         time.Duration // time after which a waiting call moves up one priority; more than 0
	MaxWaiting    int           // calls of this process that may wait

	// ReadLimits makes of a version and its text what rules in place of Limits and Concurrency. It is called under the lock.
	// Its error says why this process can't follow.
	ReadLimits    func(version int64, text string) (*LimitSet, error)
	concurrencies map[string]int // of single accounts, in place of Account.Concurrency

	ContinueOnLeaseLoss bool // calls in flight go on when their permits may go to others
	Observer            Observer
}

// limitsPermits reports whether an account has a limit on calls in flight.
func (cfg *Config) limitsPermits() bool {
	return cfg.Concurrency > 0 || slices.ContainsFunc(cfg.Accounts, func(a Account) bool { return a.Concurrency > 0 })
}

// Scope is what has a limit.
type Scope = scripts.LimitScope

// Strategy says which account gets a call that several can serve.
type Strategy = scripts.Strategy

// Adaptive says how a limit on calls in flight follows the samples. Its OK, Dropped, Total and Peak don't count here.
type Adaptive = scripts.SemaphoreAdaptive

// Values of Scope.
const (
	PerAccount = scripts.PerAccount
	PerKey     = scripts.PerKey
	PerPool    = scripts.PerPool
)

// Values of Strategy.
const (
	LeastLoaded    = scripts.LeastLoaded
	RoundRobin     = scripts.RoundRobin
	FirstAvailable = scripts.FirstAvailable
)

// Account is what the provider counts, and its keys.
type Account struct {
	ID          string
	Keys        []Key
	Concurrency int      // calls in flight, over all processes; 0: Config.Concurrency
	Models      []string // patterns of the models that the account has; empty: all
	Weight      int      // share of the calls; 0: the highest weight of its keys
}

// Key is an API key without its secret.
//
// If the ID ends with a tilde and hexadecimal digits, these are a fingerprint of the secret. A key with another secret then
// has another ID, and so other blocks and limits of its own.
type Key struct {
	ID     string
	Weight int // at least 1
}

// WithFingerprint returns the ID of a key with a secret of a fingerprint, which is hexadecimal digits.
func WithFingerprint(id, fingerprint string) string { return id + "~" + fingerprint }

// WithoutFingerprint returns the ID of a key without the fingerprint of its secret.
func WithoutFingerprint(id string) string {
	if at := strings.LastIndexByte(id, '~'); at >= 0 {
		return id[:at]
	}
	return id
}

// Fingerprint returns the fingerprint in the ID of a key; empty: there is none.
func Fingerprint(id string) string {
	if at := strings.LastIndexByte(id, '~'); at >= 0 {
		return id[at+1:]
	}
	return ""
}

// Limit is one limit: GCRA with an emission interval and a burst, or a daily count.
type Limit struct {
	Name  string // unique among the limits of a scope and Account
	Scope Scope
	// Account is the ID of the only account that has the limit. There it replaces the limit of the same Name and Scope that
	// has no Account. Empty: every account has the limit. Not with PerPool.
	Account  string
	Metric   int           // index of the metric that is counted
	Interval float64       // seconds per unit; 0 for a daily count
	Burst    int64         // units; the whole count of a daily count
	Grows    bool          // the burst grows to what calls cost
	Rate     int64         // units per Period that the provider allows
	Usable   int64         // units of Rate that the pool uses, and that one call may cost; at least 1
	Period   time.Duration // length of the window, or time in which the bucket refills
	Models   []string      // patterns of the models that are counted; empty: every call is
	// NextReset returns when a daily count starts anew after a time; nil: the limit isn't a daily count.
	NextReset func(time.Time) time.Time
}

func (l *Limit) daily() bool { return l.NextReset != nil }

// Request is what one attempt asks of admission.
type Request struct {
	Units    []int64 // by metric; it isn't changed and mustn't be
	Model    string
	Priority int      // 0 is the lowest, Priorities-1 the highest
	Tenant   string   // Tenant.Name; an unknown one is the default
	Affinity string   // calls of the same affinity prefer the same account; empty: none
	Exclude  []string // accounts that the call must not take
	Retry    bool     // it goes before first attempts of its priority
	// Needs is the time that such a call took of late. A call that has waited isn't admitted if less is left until its
	// deadline, nor if less than half of its time is left and Needs is more. 0: unknown.
	Needs time.Duration
}

// Priorities is the number of priorities.
const Priorities = 3

// Block takes a key or an account out of use.
type Block struct {
	Account string
	Key     string        // Key.ID, or that without the fingerprint for whichever secret it has; empty: the whole account
	For     time.Duration // from now
	// Disabled: after For one call tries the key or account, and the others wait for its result. Otherwise it cools down,
	// and the cooldown of an account is one for the models that share their limits with the call that caused it.
	Disabled bool
	// Model narrows the cooldown of an account to a model. Empty: the models that share their limits with the call.
	Model string
	// Factor and Most let the block grow while it is repeated: the next one is Factor times as long as the last, up to Most.
	// While one holds, another has no effect. Factor 0: each block is For long, and the later end counts.
	Factor float64
	Most   time.Duration
	Reason string // for people
}

// Sample is the result of an attempt for the adaptive limit.
type Sample uint8

// Values of Sample.
const (
	None       Sample = iota // says nothing
	Served                   // the provider did what was asked
	Overloaded               // the provider had too much to do, or was too slow
)

// Feedback is what an attempt taught about its key, account and limits. The zero Feedback teaches nothing.
type Feedback struct {
	Block   *Block        // the key or account cools down, or is disabled
	Works   bool          // the provider accepted the key: this ends its trial
	Calm    bool          // the provider served a call after a cooldown: the next cooldown doesn't grow from that one
	Pace    float64       // share of their pace at which the account's limits go on; 0: as before
	Recover time.Duration // time until the whole pace is back; 0: ten periods of each limit
	Sample  Sample        // for the adaptive limit
	Latency time.Duration // of the attempt, for the adaptive limit
	Quotas  []Quota       // what the provider says is left
	Initial int64         // calls that the provider would take now: the adaptive limit may begin there; 0: unknown
}

// Quota is what the provider says is left of one of its limits.
type Quota struct {
	Metric    int           // by index
	Limit     int64         // the whole; 0: the provider doesn't say
	Period    time.Duration // of the limit; 0: the provider doesn't say
	Remaining int64
}
