package scripts

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// The script and the model give equal replies and keep equal state through random histories of three sessions.
func TestPool_MatchesTheModel(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for i := range 150 {
			newPoolRun(fmt.Append(nil, "seed ", i)).check(t, rdb, 40)
		}
	})
}

// A call with excluded targets takes another, and the reply says whether there is one.
func TestPool_ExcludesTargets(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		cfg := &PoolConfig{Session: "s", TTL: time.Second, Strategy: FirstAvailable, ModelGroups: make([]PoolModelGroup, 1), Accounts: []PoolAccount{
			{ID: "a", Keys: []PoolKeyWeight{{"a", 1}}}, {ID: "b", Keys: []PoolKeyWeight{{"b", 1}}},
		}}
		shape, seq := EncodeConfig(cfg), int64(0)
		off := func(keys ...string) (r []PoolReport) {
			for _, k := range keys {
				r = append(r, PoolReport{Kind: DisableBlock, Block: KeyBlock(k), For: time.Hour, Reason: "revoked " + k})
			}
			return r
		}
		cool := []PoolReport{{Kind: CoolBlock, Block: KeyBlock("b"), For: time.Hour}}
		for name, test := range map[string]struct {
			reports []PoolReport
			exclude []int
			target  int
			blocked int
			reason  string
		}{
			"none":                            {nil, nil, 0, ConstraintNone, ""},
			"the first":                       {nil, []int{0}, 1, ConstraintNone, ""},
			"the second":                      {nil, []int{1}, 0, ConstraintNone, ""},
			"all":                             {nil, []int{1, 0}, -1, ConstraintExcluded, ""},
			"all but a disabled one":          {off("b"), []int{0}, -1, ConstraintExcluded, ""},
			"all but one that cools down":     {cool, []int{0}, -1, ConstraintCooldown, ""},
			"some, and all are disabled":      {off("a", "b"), []int{0}, -1, ConstraintDisabled, "revoked b"},
			"all, and all are disabled":       {off("b", "a"), []int{0, 1}, -1, ConstraintDisabled, "revoked b"},
			"all, of which some are disabled": {off("a"), []int{0, 1}, -1, ConstraintExcluded, ""},
		} {
			seq++
			reply, err := Admit(t.Context(), rdb, name, &PoolCall{Config: shape, Seq: seq, Reports: test.reports, Demands: []PoolDemand{
				{Count: 1, Prefer: 0, Exclude: test.exclude},
				{Count: 1, Prefer: -1, Exclude: test.exclude},
			}})
			if err != nil {
				t.Fatal(err)
			}
			targets := []int{}
			for _, g := range reply.Grants {
				targets = append(targets, g.Target)
			}
			want := []int{test.target, test.target}[:2*reply.Admitted[0]]
			if !slices.Equal(targets, want) || !slices.Equal(reply.Blocked, []int{test.blocked, test.blocked}) ||
				reply.Constraint != test.blocked || reply.Reason != test.reason || (test.target < 0) != (len(targets) == 0) {
				t.Errorf("%s: %+v", name, reply)
			}
		}
	})
}
