package scripts

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// BenchmarkPool measures what one call of the pool's script costs inside Redis, by the shape of the pool. It reports the
// time of the script, and its ratio to the time of gcra_allow, which runs in turn with it.
func BenchmarkPool(b *testing.B) {
	for _, pool := range []struct{ keys, accounts int }{{10, 6}, {50, 50}} {
		for _, calls := range []int{1, 64, 512} {
			b.Run(fmt.Sprintf("keys=%d/accounts=%d/limits=3/calls=%d", pool.keys, pool.accounts, calls), func(b *testing.B) {
				newPoolBench(b, benchConfig(pool.keys, pool.accounts), 1).run(benchDemand(0, calls))
			})
		}
	}
	for _, calls := range []int{1, 512} {
		b.Run(fmt.Sprintf("keys=50/models=20/limits=4/calls=%d", calls), func(b *testing.B) {
			p := newPoolBench(b, benchModels(50, 20), 1)
			p.useAll()
			p.run(benchDemand(0, calls))
		})
	}
	b.Run("keys=50/models=20/limits=4/calls=400/of=20", func(b *testing.B) {
		p := newPoolBench(b, benchModels(50, 20), 1)
		p.useAll()
		var all []PoolDemand
		for g := range 20 {
			all = append(all, benchDemand(g, 20)...)
		}
		p.run(all)
	})
	for _, sessions := range []int{1, 50, 200, 1000} {
		b.Run(fmt.Sprintf("keys=10/accounts=6/limits=3/sessions=%d", sessions), func(b *testing.B) {
			cfg := benchConfig(10, 6)
			cfg.Concurrency, cfg.TTL = 20, time.Hour
			p := newPoolBench(b, cfg, sessions)
			for range 2 * sessions {
				p.admit(benchDemand(0, 8))
			}
			p.run(benchDemand(0, 8))
		})
	}
	b.Run("keys=50/models=5/limits=4/rotations=12", func(b *testing.B) {
		cfg := benchModels(50, 5)
		p := newPoolBench(b, cfg, 1)
		p.useAll()
		for month := range 12 {
			for a := range cfg.Accounts {
				id := fmt.Sprintf("key-%d-%d", a, month)
				cfg.Accounts[a] = PoolAccount{ID: id, Keys: []PoolKeyWeight{{id, 1}}}
			}
			p.sessions[0].cfg = EncodeConfig(cfg)
			p.useAll()
		}
		p.run(benchDemand(0, 1))
	})
}

func benchDemand(group, calls int) []PoolDemand {
	return []PoolDemand{{Count: calls, ModelGroup: group, Ahead: 100 * time.Millisecond, Prefer: -1, Cost: []int64{1, 700, 200, 900}}}
}

func benchConfig(keys, accounts int) *PoolConfig {
	cfg := &PoolConfig{
		Session: "bench", TTL: 10 * time.Second, Horizon: 200 * time.Millisecond, Strategy: LeastLoaded, Metrics: 4,
		Concurrency: 100_000, ModelGroups: []PoolModelGroup{{Limits: []int{0, 1, 2}}},
	}
	for m, name := range []string{"requests.1m0s", "tokens.1m0s", "output_tokens.1m0s"} {
		cfg.Limits = append(cfg.Limits, benchLimit(name, m))
	}
	for a := range accounts {
		account := PoolAccount{ID: fmt.Sprint("org-", a)}
		for k := a; k < keys; k += accounts {
			account.Keys = append(account.Keys, PoolKeyWeight{fmt.Sprint("k", k), 1})
		}
		cfg.Accounts = append(cfg.Accounts, account)
	}
	return cfg
}

// benchModels is a pool whose models have limits of their own.
func benchModels(accounts, models int) *PoolConfig {
	cfg := benchConfig(accounts, accounts)
	cfg.Concurrency, cfg.Limits, cfg.ModelGroups = 0, nil, nil
	for g := range models {
		group := PoolModelGroup{Name: fmt.Sprint("model-", g)}
		for m, name := range []string{"requests", "input_tokens", "output_tokens", "tokens"} {
			group.Limits = append(group.Limits, len(cfg.Limits))
			cfg.Limits = append(cfg.Limits, benchLimit(fmt.Sprintf("model-%d.%s.1m0s", g, name), m))
		}
		cfg.ModelGroups = append(cfg.ModelGroups, group)
	}
	return cfg
}

func benchLimit(name string, metric int) PoolLimit {
	return PoolLimit{Name: name, Scope: PerAccount, Metric: metric, Interval: 60.0 / 1e9, Burst: 5e8, Limit: 1e9}
}

// poolBench is a pool that some sessions use in turn.
type poolBench struct {
	*testing.B
	rdb      *redis.Client
	cfg      *PoolConfig
	sessions []*benchSession
	next     int
}

type benchSession struct {
	cfg  *EncodedConfig
	seq  int64
	held []int
}

func newPoolBench(b *testing.B, cfg *PoolConfig, sessions int) *poolBench {
	p := &poolBench{B: b, rdb: redistest.Start(b).Client(b), cfg: cfg}
	for i := range sessions {
		cfg.Session = fmt.Sprintf("host-%04d-12345.abcdefgh", i)
		p.sessions = append(p.sessions, &benchSession{cfg: EncodeConfig(cfg), held: make([]int, len(cfg.Accounts))})
	}
	return p
}

// admit makes one call of the next session, which has ended half of what it held.
func (p *poolBench) admit(demands []PoolDemand) *PoolReply {
	p.Helper()
	s := p.sessions[p.next%len(p.sessions)]
	p.next++
	s.seq++
	c := &PoolCall{Config: s.cfg, Seq: s.seq, Demands: demands}
	if p.cfg.Concurrency > 0 {
		for a := range s.held {
			s.held[a] /= 2
		}
		c.Held = s.held
	}
	reply, err := Admit(p.Context(), p.rdb, "bench", c)
	if err != nil {
		p.Fatal(err)
	}
	if p.cfg.Concurrency > 0 {
		for _, g := range reply.Grants {
			s.held[g.Target]++
		}
	}
	return reply
}

// useAll puts every counter to use.
func (p *poolBench) useAll() {
	p.Helper()
	for range 40 {
		for g := range p.cfg.ModelGroups {
			p.admit(benchDemand(g, 400))
		}
	}
}

var scriptTime = regexp.MustCompile(`cmdstat_evalsha:calls=([0-9]+),usec=([0-9]+)`)

// spent returns how many microseconds Redis has spent on scripts since the last time.
func (p *poolBench) spent() float64 {
	p.Helper()
	m := scriptTime.FindStringSubmatch(p.rdb.Info(p.Context(), "commandstats").Val())
	if m == nil {
		p.Fatal("no statistics of EVALSHA")
	}
	us, _ := strconv.ParseFloat(m[2], 64)
	p.rdb.ConfigResetStat(p.Context())
	return us
}

// run measures calls with demands.
func (p *poolBench) run(demands []PoolDemand) {
	p.Helper()
	allow := &GCRAAllow{Key: "rate:bench", Count: 1, Limit: GCRALimit{Interval: 1e-5, Burst: 1e6, Cost: 1}}
	const batch = 20
	var us, allowUS float64
	n, total := 0, 0
	p.admit(demands)
	p.spent()
	for p.Loop() {
		p.admit(demands)
		if n++; n == batch {
			us += p.spent()
			for range batch {
				if _, err := allow.Run(p.Context(), p.rdb); err != nil {
					p.Fatal(err)
				}
			}
			allowUS += p.spent()
			total, n = total+batch, 0
		}
	}
	if total == 0 {
		return
	}
	p.ReportMetric(us/float64(total), "script-µs/call")
	p.ReportMetric(us/allowUS, "x-gcra_allow")
}
