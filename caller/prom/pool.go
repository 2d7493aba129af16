package prom

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/caller"
)

// priorities is the number of priorities.
const priorities = int(caller.PriorityHigh-caller.PriorityLow) + 1

var priorityNames = [priorities]string{"low", "normal", "high"}

// reasons are the words of what a call waits for, in the order of parts.
var reasons = [...]string{"rate", "permit", "cooldown", "redis"}

// pool is the series of the Pools of one name, and those of them that are open.
type pool struct {
	m    *Metrics
	name string

	ended     cache[endKey, endSeries]
	attempted cache[attemptKey, attemptSeries]
	held      cache[heldKey, prometheus.Observer]
	usage     cache[usageKey, usageSeries]
	waits     [priorities]waitSeries
	redis     redisSeries

	mu     sync.Mutex
	open   []*caller.Pool
	closed totals // of Pools that are closed
}

type endKey struct {
	model    string
	priority int
	outcome  string
}

type endSeries struct {
	calls    prometheus.Counter
	duration prometheus.Observer
}

type attemptKey struct {
	account, key, model string
	outcome             caller.Outcome
}

type attemptSeries struct {
	attempts, retries prometheus.Counter
	duration          prometheus.Observer
}

type heldKey struct{ account, model string }

type usageKey struct {
	account, key, model string
	metric              caller.Metric
}

type usageSeries struct{ estimated, used, partial prometheus.Counter }

type waitSeries struct {
	whole prometheus.Observer
	parts [len(reasons)]prometheus.Observer
}

type redisSeries struct {
	calls, errors, losses, put, leases, keys prometheus.Counter
	duration, batch                          prometheus.Observer
}

// newPool returns a pool whose series that need no account exist from the beginning.
func newPool(m *Metrics, name string) *pool {
	p := &pool{m: m, name: name}
	f, v := m.families, values{labelPool: name}
	for i := range p.waits {
		w := values{labelPool: name, LabelPriority: priorityNames[i]}
		p.waits[i].whole = f.wait.with(w)
		for n, reason := range reasons {
			w[labelReason] = reason
			p.waits[i].parts[n] = f.waitReason.with(w)
		}
		for reason := caller.NotRefused + 1; reason.String() != "unknown"; reason++ {
			w[labelReason] = reason.String()
			f.refusals.with(w)
		}
	}
	p.redis = redisSeries{
		calls: f.scriptCalls.with(v), errors: f.scriptErrors.with(v), losses: f.losses.with(v), put: f.put.with(v),
		leases: f.leasesLost.with(v), keys: f.keyErrors.with(v), duration: f.scriptDuration.with(v), batch: f.scriptBatch.with(v),
	}
	return p
}

func (p *pool) opened(_ context.Context, c *caller.Pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, c)
}

func (p *pool) close(_ context.Context, c *caller.Pool) {
	last := c.Stats()
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.open, c); i >= 0 {
		p.open = slices.Delete(p.open, i, i+1)
		p.closed.add(&last)
	}
}

// show lets the counters of a key be there before they count anything.
func (p *pool) show(account, key string) {
	v := values{labelPool: p.name, LabelAccount: p.m.accounts.bound(account), LabelKey: p.m.keys.bound(key)}
	p.m.families.cooldowns.with(v)
	p.m.families.disabled.with(v)
	p.m.families.circuits.with(v)
}

// totals are sums of Stats.
type totals struct {
	waiting, inFlight int
	missed            int64
	failing           time.Duration
	blocked           map[string]time.Duration
	charged           caller.Cost
}

func (t *totals) add(s *caller.Stats) {
	t.missed += s.SlotsMissed
	t.failing += s.RedisFailing
	if t.blocked == nil {
		t.blocked, t.charged = map[string]time.Duration{}, caller.Cost{}
	}
	for constraint, d := range s.BlockedBy {
		t.blocked[constraint] += d
	}
	for metric, n := range s.Charged {
		t.charged[metric] += n
	}
}

// read returns the sums over all Pools of the name, and one that is open; nil: none is.
func (p *pool) read() (t totals, one *caller.Pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t = p.closed
	t.blocked, t.charged = maps.Clone(t.blocked), maps.Clone(t.charged)
	for _, c := range p.open {
		s := c.Stats()
		t.add(&s)
		t.waiting += s.CallsWaiting
		t.inFlight += s.CallsInFlight
		one = c
	}
	return t, one
}
