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

// BenchmarkPool admits equal calls to a pool with three limits and permits for each account, and reports what one call
// of the script costs inside Redis.
func BenchmarkPool(b *testing.B) {
	for _, pool := range []struct{ keys, accounts int }{{10, 6}, {50, 50}} {
		for _, calls := range []int{1, 64, 512} {
			b.Run(fmt.Sprintf("keys=%d/accounts=%d/calls=%d", pool.keys, pool.accounts, calls), func(b *testing.B) {
				benchPool(b, redistest.Start(b).Client(b), benchConfig(pool.keys, pool.accounts), calls)
			})
		}
	}
}

func benchConfig(keys, accounts int) *PoolConfig {
	cfg := &PoolConfig{
		Session: "bench", TTL: 10 * time.Second, Horizon: 200 * time.Millisecond, Strategy: LeastLoaded, Metrics: 3,
		Concurrency: 100_000, ModelGroups: []PoolModelGroup{{Limits: []int{0, 1, 2}}},
	}
	for m, name := range []string{"requests.1m0s", "tokens.1m0s", "output_tokens.1m0s"} {
		cfg.Limits = append(cfg.Limits, PoolLimit{
			Name: name, Scope: PerAccount, Metric: m, Interval: 60.0 / 1e9, Burst: 5e8, Limit: 1e9,
		})
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

func benchPool(b *testing.B, rdb *redis.Client, cfg *PoolConfig, calls int) {
	c := &PoolCall{Config: EncodeConfig(cfg), Held: make([]int, len(cfg.Accounts)), Demands: []PoolDemand{{
		Count: calls, Ahead: 100 * time.Millisecond, Prefer: -1, Cost: []int64{1, 700, 200},
	}}}
	admit := func() {
		c.Seq++
		if reply, err := Admit(b.Context(), rdb, "bench", c); err != nil || len(reply.Grants) != calls {
			b.Fatal(err, reply)
		}
	}
	admit()
	rdb.ConfigResetStat(b.Context())
	before := serverCPU(b, rdb)
	for b.Loop() {
		admit()
	}
	b.StopTimer()
	m := regexp.MustCompile(`cmdstat_evalsha:.*usec_per_call=([0-9.]+)`).FindStringSubmatch(rdb.Info(b.Context(), "commandstats").Val())
	if m == nil {
		b.Fatal("no statistics")
	}
	us, _ := strconv.ParseFloat(m[1], 64)
	b.ReportMetric(us, "script-µs/call")
	b.ReportMetric((serverCPU(b, rdb)-before)*1e6/float64(b.N), "server-cpu-µs/call")
}
