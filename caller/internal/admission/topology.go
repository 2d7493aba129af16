package admission

import (
	"cmp"
	"hash/fnv"
	"slices"
	"time"

	"github.com/penstock/penstock/scripts"
)

// account is an account of a topology. Its tally outlives the topology.
type account struct {
	Account // without keys: the account is gone, and calls of it are in flight
	*tally
}

// tally is what a process counts of an account.
type tally struct {
	held    int // calls admitted and not over
	samples samples
}

// target is what a call can be admitted to: keys of one account that share all limits, for one model group.
type target struct {
	account  *account
	group    string // name of the model group
	keys     []Key
	counters []string // names
	limits   []int    // of the counters, indices in Config.Limits
	// counterIndices are the counters' indices in the topology.
	counterIndices []int
	hash           uint64 // of its name, for affinity
}

// counter is one limit of one account, key, or the pool.
type counter struct {
	name    string
	limit   int    // index in Config.Limits
	account string // empty: the pool's
	key     string // empty: not a key's own
	recent  *recent
}

// owner returns the key or account that has the counter; empty: the pool.
func (c *counter) owner() string { return cmp.Or(c.key, c.account) }

// topology is the accounts, model groups, targets and counters of a pool, and what the script's indices stand for. It is
// immutable: a change of keys or model groups makes a new one.
type topology struct {
	config          *scripts.EncodedConfig
	accounts        []*account
	targets         []target // by model group, and in each by account and key
	targetsPerGroup int
	counters        []counter
	byName          map[string]int // indices of counters
	ends            time.Time      // when the first daily count ends; zero: never
}

// newTopology returns the topology of accounts for model groups.
func newTopology(cfg *Config, accounts []*account, groups []modelGroup, now time.Time) *topology {
	t := &topology{accounts: accounts, byName: map[string]int{}}
	pool := scripts.PoolConfig{
		Session: cfg.Session, TTL: cfg.SessionTTL, Horizon: cfg.Horizon, Strategy: cfg.Strategy, Metrics: cfg.Metrics,
		Concurrency: cfg.Concurrency, Adaptive: cfg.Adaptive, Tenants: poolTenants(cfg.Tenants),
	}
	for i := range cfg.Limits {
		pool.Limits = append(pool.Limits, t.limit(&cfg.Limits[i], now))
	}
	for _, a := range accounts {
		its := scripts.PoolAccount{ID: a.ID, Concurrency: a.Concurrency, Weight: a.Weight}
		if n, ok := cfg.concurrencies[a.ID]; ok {
			its.Concurrency = n
		}
		for _, k := range a.Keys {
			its.Keys = append(its.Keys, scripts.PoolKeyWeight{ID: k.ID, Weight: k.Weight})
		}
		pool.Accounts = append(pool.Accounts, its)
	}
	perKey := slices.ContainsFunc(cfg.Limits, func(l Limit) bool { return l.Scope == PerKey })
	for i := range groups {
		g := &groups[i]
		pool.ModelGroups = append(pool.ModelGroups, scripts.PoolModelGroup{Name: g.name, Limits: g.limits, Accounts: g.having(accounts)})
		for _, a := range accounts {
			limits := slices.DeleteFunc(pool.LimitsOf(i, a.ID), func(l int) bool { return l < 0 })
			if !perKey {
				t.addTarget(cfg, g.name, limits, a, a.Keys, "")
				continue
			}
			for _, k := range a.Keys {
				t.addTarget(cfg, g.name, limits, a, []Key{k}, k.ID)
			}
		}
	}
	t.targetsPerGroup = len(t.targets) / len(groups)
	t.config = scripts.EncodeConfig(&pool)
	return t
}

// limit returns a limit in the script's form.
func (t *topology) limit(l *Limit, now time.Time) scripts.PoolLimit {
	out := scripts.PoolLimit{
		Name: l.Name, Scope: l.Scope, Account: l.Account, Metric: l.Metric, Interval: l.Interval, Burst: l.Burst, Limit: l.Usable, Grows: l.Grows,
		Period: l.Period,
	}
	if l.daily() {
		end := l.NextReset(now)
		out.End = scripts.Micros(end)
		if t.ends.IsZero() || end.Before(t.ends) {
			t.ends = end
		}
	}
	return out
}

// mergeAccounts returns accounts as a topology has them. One that stays keeps its tally; one that goes stays without keys
// as long as calls of it are in flight.
func mergeAccounts(old []*account, accounts []Account) []*account {
	tallies := map[string]*tally{}
	for _, a := range old {
		tallies[a.ID] = a.tally
	}
	merged := make([]*account, 0, len(accounts))
	for _, a := range accounts {
		its, ok := tallies[a.ID]
		if !ok {
			its = &tally{}
		}
		delete(tallies, a.ID)
		merged = append(merged, &account{a, its})
	}
	for _, a := range old {
		if its, gone := tallies[a.ID]; gone && its.held > 0 {
			without := a.Account
			without.Keys = nil
			merged = append(merged, &account{without, its})
		}
	}
	return merged
}

// addTarget adds the target of an account for a model group with its limits there, or that of one of its keys.
func (t *topology) addTarget(cfg *Config, group string, limits []int, a *account, keys []Key, key string) {
	its := target{account: a, group: group, keys: keys, limits: limits}
	for _, limit := range limits {
		at := t.addCounter(&cfg.Limits[limit], limit, a.ID, key)
		its.counters = append(its.counters, t.counters[at].name)
		its.counterIndices = append(its.counterIndices, at)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(scripts.TargetName(a.ID, shared(group), key)))
	its.hash = h.Sum64()
	t.targets = append(t.targets, its)
}

// addCounter returns the index of a limit's counter for an account and key.
func (t *topology) addCounter(l *Limit, index int, accountID, key string) int {
	c := counter{limit: index, recent: &recent{}}
	switch l.Scope {
	case PerPool:
		c.name = scripts.PoolLimitName(l.Name)
	case PerKey:
		c.name, c.account, c.key = scripts.KeyLimitName(key, l.Name), accountID, key
	default:
		c.name, c.account = scripts.AccountLimitName(accountID, l.Name), accountID
	}
	at, ok := t.byName[c.name]
	if !ok {
		at = len(t.counters)
		t.byName[c.name] = at
		t.counters = append(t.counters, c)
	}
	return at
}

// counter returns the counter of a name; nil: its account or key is gone.
func (t *topology) counter(name string) *counter {
	i, ok := t.byName[name]
	if !ok {
		return nil
	}
	return &t.counters[i]
}

// has reports whether an account has a key.
func (t *topology) has(accountID, key string) bool {
	return slices.ContainsFunc(t.accounts, func(a *account) bool {
		return a.ID == accountID && slices.ContainsFunc(a.Keys, func(k Key) bool { return k.ID == key })
	})
}

// named returns the keys of an ID without fingerprint.
func (t *topology) named(id string) []Key {
	var keys []Key
	for _, a := range t.accounts {
		for _, k := range a.Keys {
			if k.ID != id && WithoutFingerprint(k.ID) == id {
				keys = append(keys, k)
			}
		}
	}
	return keys
}

// prefer returns the index of the target of a model group that calls of an affinity take while it has room; -1: none.
// Every process computes the same target, and a key that comes or goes changes it for few affinities (highest random
// weight, Thaler and Ravishankar 1998).
func (t *topology) prefer(affinity string, group int) int {
	if affinity == "" {
		return -1
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(affinity))
	own, best, top := h.Sum64(), -1, uint64(0)
	for i := group * t.targetsPerGroup; i < (group+1)*t.targetsPerGroup; i++ {
		if score := mix(own ^ t.targets[i].hash); best < 0 || score > top {
			best, top = i, score
		}
	}
	return best
}

// targetsOf returns the indices of the targets that accounts have in a model group.
func (t *topology) targetsOf(accounts []string, group int) []int {
	if len(accounts) == 0 {
		return nil
	}
	var targets []int
	for i := group * t.targetsPerGroup; i < (group+1)*t.targetsPerGroup; i++ {
		if slices.Contains(accounts, t.targets[i].account.ID) {
			targets = append(targets, i)
		}
	}
	return targets
}

// mix spreads every bit over all (the finaliser of SplitMix64, Steele et al. 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// setAccounts makes the topology of accounts. An account that stays keeps its tally; one that goes stays without keys as
// long as calls of it are in flight.
func (c *Controller) setAccounts(accounts []Account, now time.Time) {
	var old []*account
	if c.topology != nil {
		old = c.topology.accounts
	}
	c.cfg.Accounts = slices.Clone(accounts)
	if c.groups.setAccounts(accounts) {
		c.queue.regroup(func(w *waiter) int {
			group, _ := c.groups.of(c.cfg.Limits, w.Model)
			return group
		})
	}
	c.setTopology(newTopology(&c.cfg, mergeAccounts(old, c.cfg.Accounts), c.groups.list, now))
}

// setTopology replaces the topology. What was used of its counters goes over.
func (c *Controller) setTopology(t *topology) {
	t.keepRecent(c.topology)
	c.topology = t
}
