package scripts

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// tiers is a pool of two accounts with a limit of 10 calls at once, of which the second has one of its own: 30 calls.
func tiers() *PoolConfig {
	cfg := oneLimit(2, window(0, 10, time.Minute, 10))
	own := window(0, 30, time.Minute, 30)
	own.Account = "org-1"
	cfg.Limits = append(cfg.Limits, own)
	cfg.ModelGroups = []PoolModelGroup{{Limits: []int{0, 1}}, {Name: "rare", Limits: []int{0, 1}, Accounts: []bool{false, true}}}
	return cfg
}

// granted returns how many calls each target got.
func granted(r *PoolReply, targets int) []int {
	n := make([]int, targets)
	for _, g := range r.Grants {
		n[g.Target]++
	}
	return n
}

// An account's own limit holds there in place of that of all accounts, and what delays a call is the limit of its account.
func TestPool_AccountsHaveLimitsOfTheirOwn(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		p := newTestPool(t, rdb, tiers())
		r := p.must("s", PoolCall{Demands: []PoolDemand{{Count: 100, Prefer: -1, Cost: []int64{1}}}})
		if got, want := granted(r, 4), []int{10, 30, 0, 0}; !slices.Equal(got, want) {
			t.Errorf("got %v calls by target, want %v", got, want)
		}
		r = p.must("s", PoolCall{Demands: []PoolDemand{{Count: 1, Prefer: -1, Exclude: []int{0}, Cost: []int64{1}}}})
		if len(r.Grants) != 0 || r.Constraint != 1 {
			t.Errorf("got %d calls, constraint %d, want none and limit 1", len(r.Grants), r.Constraint)
		}
		state, err := InspectPool(t.Context(), rdb, "p")
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := state.Counters[AccountLimitName("org-1", "limit-0")]; !ok || len(state.Counters) != 2 {
			t.Errorf("got counters %v, want one of each account", state.Counters)
		}
	})
}

// Calls for models that only some accounts have go to these alone.
func TestPool_AccountsHaveModelsOfTheirOwn(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		p := newTestPool(t, rdb, tiers())
		r := p.must("s", PoolCall{Demands: []PoolDemand{{Count: 100, ModelGroup: 1, Prefer: 2, Cost: []int64{1}}}})
		if got, want := granted(r, 4), []int{0, 0, 0, 30}; !slices.Equal(got, want) {
			t.Errorf("got %v calls by target, want %v", got, want)
		}
	})
}

// Each account has the number of permits that it says, else that of all. Where all have none, it alone is limited.
func TestPool_AccountsHavePermitsOfTheirOwn(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for all, want := range map[int][]int{4: {4, 7}, 0: {93, 7}} {
			rdb.FlushDB(t.Context())
			cfg := oneLimit(2, window(0, 1_000_000, time.Minute, 1000))
			cfg.Concurrency, cfg.Accounts[1].Concurrency = all, 7
			p := newTestPool(t, rdb, cfg)
			r := p.must("s", PoolCall{Held: []int{0, 0}, Demands: calls(100, 1)})
			if got := granted(r, 2); !slices.Equal(got, want) {
				t.Errorf("%d permits of all: got %v calls by account, want %v", all, got, want)
			}
		}
	})
}
