package prom

import (
	"cmp"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/caller"
)

// Metrics is a Prometheus collector of the pools of a process. It is safe for concurrent use.
type Metrics struct {
	families *families
	levels   *levels
	models   names
	units    names
	keys     names
	accounts names

	mu    sync.Mutex
	pools map[string]*pool
}

// New returns Metrics without pools. Register it once.
func New(cfg Config) (*Metrics, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	most := cmp.Or(cfg.MaxModels, DefaultMaxModels)
	m := &Metrics{families: newFamilies(cfg), levels: newLevels(), pools: map[string]*pool{}}
	m.models.most, m.units.most, m.keys.most, m.accounts.most = most, most, maxKeys, maxKeys
	return m, nil
}

// Hooks returns hooks for the Pools of a name. The Pools of this process that share the name share the series. If Hooks has
// been called for the name before, the series go on.
//
// With Hooks.UsageRead set, the Pool reads the usage of every response that its profile knows how to read.
func (m *Metrics) Hooks(name string) caller.Hooks {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.pools[name]
	if p == nil {
		p = newPool(m, name)
		m.pools[name] = p
	}
	return p.hooks()
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, c := range m.families.all {
		c.Describe(out)
	}
	m.levels.describe(out)
}

// Collect implements prometheus.Collector. It reads the state of each pool from Redis, all at once, for at most 2 seconds.
// penstock_fleet_read_success says whether that succeeded.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	pools := make([]*pool, 0, len(m.pools))
	for _, p := range m.pools {
		pools = append(pools, p)
	}
	m.mu.Unlock()
	var all sync.WaitGroup
	for _, p := range pools {
		all.Go(func() { m.levels.collect(p, out) })
	}
	all.Wait()
	for _, c := range m.families.all {
		c.Collect(out)
	}
}
