package caller

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/scripts"
)

// account is what the provider counts, and its keys.
type account struct {
	id   string
	keys []Key
	held int // calls admitted and not over; belongs to the pool's lock, and so does what follows
	met  samples
}

// family is the models that the same limits count.
type family struct {
	name   string // empty where no limit tells models apart
	limits []int  // indices in Config.Limits
}

// lane is a way that a call can take: keys of one account that share all limits, for one family of models.
type lane struct {
	account  *account
	family   string
	keys     []Key
	counters []string // names
	limits   []int    // of the counters, indices in Config.Limits
	hash     uint64   // of its name, for affinity
}

// counter is one limit of one account, key, or the pool.
type counter struct {
	name    string
	limit   int    // index in Config.Limits
	account string // empty: the pool's
	key     string // empty: not a key's own
}

// layout is what the pool's script is told of accounts, limits and keys, and what its indices stand for. It never
// changes; a new one takes its place.
type layout struct {
	shape    *scripts.EncodedConfig
	accounts []*account
	lanes    []lane // by family, and in each by account and key
	perKind  int    // lanes of each family
	counters []counter
	byName   map[string]int // counters
	ends     time.Time      // when the first daily count ends; zero: never
}

// layOut lays the accounts out for the families of models.
func (p *plan) layOut(accounts []*account, families []family, now time.Time) *layout {
	l := &layout{accounts: accounts, byName: map[string]int{}}
	cfg := scripts.PoolConfig{
		Session: p.Tuning.SessionName, TTL: p.Tuning.SessionTTL, Horizon: p.Tuning.Horizon, Strategy: p.Strategy.script(), Metrics: len(p.metrics),
		Concurrency: p.Concurrency,
	}
	if a := p.Adaptive; a != nil {
		cfg.Adaptive = &scripts.SemaphoreAdaptive{
			Gradient: a.Gradient, Min: int64(a.Min), Initial: int64(a.Initial), Backoff: a.Backoff, Every: a.Window,
			Tolerance: a.Tolerance, Smoothing: a.Smoothing, Queue: a.Queue,
		}
	}
	for i := range p.Limits {
		cfg.Limits = append(cfg.Limits, l.limit(p, i, now))
	}
	for _, a := range accounts {
		its := scripts.PoolAccount{ID: a.id}
		for _, k := range a.keys {
			its.Keys = append(its.Keys, scripts.PoolKeyWeight{ID: k.ID, Weight: max(1, k.Weight)})
		}
		cfg.Accounts = append(cfg.Accounts, its)
	}
	for _, f := range families {
		cfg.ModelGroups = append(cfg.ModelGroups, scripts.PoolModelGroup{Name: f.name, Limits: f.limits})
		for _, a := range accounts {
			if !p.keyLimits {
				l.lane(p, f, a, a.keys, "")
				continue
			}
			for _, k := range a.keys {
				l.lane(p, f, a, []Key{k}, k.ID)
			}
		}
	}
	l.perKind = len(l.lanes) / len(families)
	l.shape = scripts.EncodeConfig(&cfg)
	return l
}

// limit returns what the script is told of a limit.
func (l *layout) limit(p *plan, i int, now time.Time) scripts.PoolLimit {
	its, pace := &p.Limits[i], p.paces[i]
	made := scripts.PoolLimit{
		Name: pace.name, Scope: scripts.LimitScope(its.Scope), Metric: p.index[i],
		Interval: pace.interval, Burst: pace.burst, Limit: its.Usable(), Grows: pace.grows,
	}
	made.Period = its.Period
	if its.Algorithm == Daily {
		end := its.nextReset(now)
		made.End = scripts.Micros(end)
		if l.ends.IsZero() || end.Before(l.ends) {
			l.ends = end
		}
	}
	return made
}

// lane adds an account's lane for a family, or that of one of its keys.
func (l *layout) lane(p *plan, f family, a *account, keys []Key, key string) {
	its := lane{account: a, family: f.name, keys: keys, limits: f.limits}
	for _, limit := range f.limits {
		its.counters = append(its.counters, l.counter(p, limit, a.id, key))
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(scripts.TargetName(a.id, f.name, key)))
	its.hash = h.Sum64()
	l.lanes = append(l.lanes, its)
}

// counter returns the name of a limit's counter for an account and key.
func (l *layout) counter(p *plan, limit int, accountID, key string) string {
	name, c := p.paces[limit].name, counter{limit: limit}
	switch p.Limits[limit].Scope {
	case PerPool:
		c.name = scripts.PoolLimitName(name)
	case PerKey:
		c.name, c.account, c.key = scripts.KeyLimitName(key, name), accountID, key
	default:
		c.name, c.account = scripts.AccountLimitName(accountID, name), accountID
	}
	if _, ok := l.byName[c.name]; !ok {
		l.byName[c.name] = len(l.counters)
		l.counters = append(l.counters, c)
	}
	return c.name
}

// owner returns whose a counter is, as the script knows it.
func (c *counter) owner() string { return cmp.Or(c.key, c.account) }

// prefer returns the lane of a family that calls of an affinity go to while it has room: every process has the same
// answer, and keys that come and go change it for few affinities (highest random weight, Thaler and Ravishankar 1998).
func (l *layout) prefer(affinity string, family int) int {
	if affinity == "" {
		return -1
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(affinity))
	own, best, top := h.Sum64(), -1, uint64(0)
	for i := family * l.perKind; i < (family+1)*l.perKind; i++ {
		if score := mix(own ^ l.lanes[i].hash); best < 0 || score > top {
			best, top = i, score
		}
	}
	return best
}

// lanesOf returns the lanes that the accounts have for a family.
func (l *layout) lanesOf(accounts []string, family int) []int {
	if len(accounts) == 0 {
		return nil
	}
	var lanes []int
	for i := family * l.perKind; i < (family+1)*l.perKind; i++ {
		if slices.Contains(accounts, l.lanes[i].account.id) {
			lanes = append(lanes, i)
		}
	}
	return lanes
}

// mix spreads every bit over all (the finaliser of SplitMix64, Steele et al. 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// held returns the calls in flight by account, as the script wants them.
func (l *layout) held() []int {
	held := make([]int, len(l.accounts))
	for i, a := range l.accounts {
		held[i] = a.held
	}
	return held
}

// families finds the family of a model. It belongs to the pool's lock.
type families struct {
	list   []family
	models map[string]int // by model
}

// maxModels bounds how many models' families are remembered; those of others are worked out each time.
const maxModels = 4096

// of returns the index of the model's family, and whether that is new.
func (f *families) of(p *plan, model string) (index int, added bool) {
	if !p.modelLimits && len(f.list) > 0 {
		return 0, false
	}
	if i, ok := f.models[model]; ok {
		return i, false
	}
	its := p.family(model)
	index = slices.IndexFunc(f.list, func(o family) bool { return o.name == its.name })
	if index < 0 {
		index, added = len(f.list), true
		f.list = append(f.list, its)
	}
	if len(f.models) < maxModels {
		f.models[model] = index
	}
	return index, added
}

// family returns the limits that count a model.
func (p *plan) family(model string) family {
	var f family
	var names []string
	for i, l := range p.Limits {
		if !l.counts(model) {
			continue
		}
		f.limits = append(f.limits, i)
		if len(l.Models) > 0 {
			names = append(names, strings.Join(l.Models, ","))
		}
	}
	slices.Sort(names)
	f.name = strings.Join(slices.Compact(names), ";")
	return f
}
