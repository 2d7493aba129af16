package scripts

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// singleScript is the part of the pool's script for the common call, followed by a reply that says that it did nothing.
var singleScript = newScript("single", coreLua, poolSingleLua, "return {}")

func TestPoolSingle_ServesTheCommonCall(t *testing.T) {
	limits := func(scopes ...LimitScope) func(*PoolConfig) {
		return func(c *PoolConfig) {
			for i, scope := range scopes {
				c.Limits[i].Scope = scope
			}
		}
	}
	block := PoolReport{Kind: CoolBlock, Block: KeyBlock("k1"), For: time.Minute, Reason: "busy"}
	for name, tt := range map[string]struct {
		config  func(*PoolConfig)
		reports []PoolReport
		count   int
		served  bool
	}{
		"as it is":          {served: true},
		"no permits":        {config: func(c *PoolConfig) { c.Concurrency = 0 }, served: true},
		"no limits":         {config: func(c *PoolConfig) { c.Limits, c.ModelGroups[0].Limits = nil, nil }, served: true},
		"keys and pool":     {config: limits(PerKey, PerPool), served: true},
		"in order":          {config: func(c *PoolConfig) { c.Strategy = FirstAvailable }, served: true},
		"in turn":           {config: func(c *PoolConfig) { c.Strategy = RoundRobin }},
		"two calls":         {count: 2},
		"a key is blocked":  {reports: []PoolReport{block}},
		"no permit is left": {config: func(c *PoolConfig) { c.Concurrency, c.Accounts = 1, c.Accounts[:1] }},
		"nothing is left":   {config: func(c *PoolConfig) { c.Limits[0].Burst, c.Limits[0].Interval = 2, 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			rdb := redistest.Client(t)
			cfg := benchConfig(10, 6)
			if tt.config != nil {
				tt.config(cfg)
			}
			cfg.Session = "s"
			now := int64(300_000_000_000_000)
			call := &PoolCall{Config: EncodeConfig(cfg), Now: now, Reports: tt.reports, Demands: benchDemand(0, 1)}
			for range 12 { // enough to use up what is scarce, within the time in which no scan is due
				call.Seq++
				if _, err := Admit(t.Context(), rdb, "p", call); err != nil {
					t.Fatal(err)
				}
				call.Held, call.Reports = make([]int, len(cfg.Accounts)), nil
				if cfg.Concurrency == 0 {
					call.Held = nil
				} else {
					call.Held[0] = 1
				}
			}
			call.Seq++
			call.Demands[0].Count = max(1, tt.count)
			reply, err := singleScript.ints(t.Context(), rdb, encodeCall("p", call))
			if err != nil && err != redis.Nil { //nolint:errorlint // never wrapped
				t.Fatal(err)
			}
			if served := len(reply) > 0; served != tt.served {
				t.Errorf("served %v, want %v: %v", served, tt.served, rdb.HGetAll(t.Context(), PoolKey("p")).Val())
			}
		})
	}
}

func encodeCall(pool string, call *PoolCall) []any {
	a := &poolArgs{}
	return a.encode(pool, call)
}
