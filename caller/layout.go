package caller

import (
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
	held int // calls admitted and not over; belongs to the pool's lock
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
	shape    *scripts.PoolShape
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
		Session: p.Session, TTL: p.TTL, Horizon: p.Horizon, Strategy: p.Strategy.script(), Metrics: len(p.metrics),
	}
	if p.Concurrency > 0 {
		for _, a := range accounts {
			cfg.Permits = append(cfg.Permits, scripts.PoolPermits{Name: a.id, Limit: p.Concurrency})
		}
	}
	b := builder{plan: p, layout: l, cfg: &cfg, now: now}
	for _, f := range families {
		for i, a := range accounts {
			if !p.keyLimits {
				b.lane(f, i, a.keys, "")
				continue
			}
			for _, k := range a.keys {
				b.lane(f, i, []Key{k}, k.ID)
			}
		}
	}
	l.perKind = len(l.lanes) / len(families)
	l.shape = scripts.NewPoolShape(&cfg)
	return l
}

// builder puts a layout together.
type builder struct {
	plan   *plan
	layout *layout
	cfg    *scripts.PoolConfig
	now    time.Time
}

func (b *builder) lane(f family, at int, keys []Key, key string) {
	a := b.layout.accounts[at]
	its := lane{account: a, family: f.name, keys: keys}
	made := scripts.PoolLane{
		Name: scripts.LaneName(a.id, f.name, key), Weight: 1, Permits: -1,
		Blocks: []string{scripts.AccountBlock(a.id, "")},
	}
	if f.name != "" {
		made.Blocks = append(made.Blocks, scripts.AccountBlock(a.id, f.name))
	}
	if b.plan.Concurrency > 0 {
		made.Permits = at
	}
	for _, k := range keys {
		made.Keys = append(made.Keys, k.ID)
		made.Weight = max(made.Weight, k.Weight)
	}
	for _, limit := range f.limits {
		i := b.counter(limit, a.id, key)
		made.Counters = append(made.Counters, i)
		its.counters = append(its.counters, b.layout.counters[i].name)
		its.limits = append(its.limits, limit)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(made.Name))
	its.hash = h.Sum64()
	b.cfg.Lanes = append(b.cfg.Lanes, made)
	b.layout.lanes = append(b.layout.lanes, its)
}

// counter returns the counter of a limit for an account and key, and makes it if it isn't there yet.
func (b *builder) counter(limit int, accountID, key string) int {
	pace := b.plan.paces[limit]
	c := counter{limit: limit}
	switch b.plan.Limits[limit].Scope {
	case PerPool:
		c.name = scripts.PoolLimitName(pace.name)
	case PerKey:
		c.name, c.account, c.key = scripts.KeyLimitName(key, pace.name), accountID, key
	default:
		c.name, c.account = scripts.AccountLimitName(accountID, pace.name), accountID
	}
	if i, ok := b.layout.byName[c.name]; ok {
		return i
	}
	i := len(b.layout.counters)
	made := scripts.PoolCounter{
		Name: c.name, Metric: slices.Index(b.plan.metrics, b.plan.Limits[limit].Metric),
		Interval: pace.interval, Burst: pace.burst, Limit: b.plan.Limits[limit].Usable(), Grows: pace.grows,
	}
	if l := b.plan.Limits[limit]; l.Algorithm == Daily {
		end := l.nextReset(b.now)
		made.End = scripts.Micros(end)
		if b.layout.ends.IsZero() || end.Before(b.layout.ends) {
			b.layout.ends = end
		}
	}
	b.cfg.Counters = append(b.cfg.Counters, made)
	b.layout.counters = append(b.layout.counters, c)
	b.layout.byName[c.name] = i
	return i
}

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
