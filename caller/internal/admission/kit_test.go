package admission

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/scripts"
)

// noon is the time that tests which set the time begin at.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// The priorities.
const (
	low    = 0
	normal = 1
	high   = 2
)

// configOf returns a Config of pool "p" with the defaults of package caller, limits, and an account for each name.
func configOf(limits []Limit, names ...string) Config {
	cfg := Config{
		Pool: "p", Session: "s", SessionTTL: 10 * time.Second, Accounts: accountsNamed(names...), Limits: limits, Metrics: 1,
		Strategy: LeastLoaded, ArrivalJitter: 100 * time.Millisecond, Horizon: 200 * time.Millisecond, Aging: 30 * time.Second,
		MaxWaiting: 1000,
	}
	for _, l := range limits {
		cfg.Metrics = max(cfg.Metrics, l.Metric+1)
	}
	return cfg
}

// accountsNamed returns for each name an account with one key of the same name.
func accountsNamed(names ...string) []Account {
	var accounts []Account
	for _, name := range names {
		accounts = append(accounts, Account{ID: name, Keys: []Key{{ID: name, Weight: 1}}})
	}
	return accounts
}

// bucket returns a limit that refills by rate in a period, and of which burst units can be used at once.
func bucket(rate int64, period time.Duration, burst int64) Limit {
	return Limit{
		Name: "bucket", Scope: PerAccount, Interval: period.Seconds() / float64(rate), Burst: burst, Rate: rate, Usable: rate,
		Period: period,
	}
}

// window returns a limit of rate in every window of a period, with a burst of 1 and an arrival jitter of 100 ms.
func window(rate int64, period time.Duration) Limit {
	l := bucket(rate, period, 1)
	l.Name, l.Interval = "window", (period+100*time.Millisecond).Seconds()/float64(rate)
	return l
}

// hourly refills by a unit an hour, so that what is charged can be read from Redis however long the test takes.
func hourly() Limit { return bucket(10_000, 10_000*time.Hour, 5000) }

// daily returns a count that starts anew every day at a time after midnight, UTC.
func daily(rate int64, at time.Duration) Limit {
	return Limit{
		Name: "daily", Scope: PerAccount, Burst: rate, Rate: rate, Usable: rate, Period: 24 * time.Hour,
		NextReset: func(now time.Time) time.Time {
			reset := now.UTC().Truncate(24 * time.Hour).Add(at)
			for !reset.After(now) {
				reset = reset.Add(24 * time.Hour)
			}
			return reset
		},
	}
}

// scoped returns the limit with another scope.
func scoped(l Limit, s Scope) Limit {
	l.Scope = s
	return l
}

// start returns a controller of a pool, and closes it at the end of the test.
func start(t *testing.T, rdb redis.UniversalClient, cfg Config) *Controller {
	t.Helper()
	c := New(rdb, cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// acquire acquires a grant for units of the only metric.
func acquire(t *testing.T, c *Controller, units int64) *Grant {
	t.Helper()
	var g Grant
	if err := c.Acquire(testkit.Context(t), Request{Units: []int64{units}, Priority: normal}, &g); err != nil {
		t.Fatal(err)
	}
	return &g
}

// settlement returns a report that charges units to a counter.
func settlement(counter string, units int64) report {
	return report{counter: counter, PoolReport: scripts.PoolReport{Kind: scripts.SettleCounter, Units: units}}
}

// cooldown returns a report that an account cools down until a time.
func cooldown(accountID string, until time.Time) report {
	r := scripts.PoolReport{Kind: scripts.CoolBlock, Block: scripts.AccountBlock(accountID, ""), Reason: "test"}
	return report{PoolReport: r, until: until}
}
