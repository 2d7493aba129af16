package caller

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// few allows n calls at once, and then for a long time none.
func few(n int64) Limit {
	return Limit{Metric: Requests, Rate: 2 * n, Period: 1000 * time.Hour, Algorithm: Bucket, Burst: n}
}

// A limit of each key, of each account, of the pool: each counts what it is of, over both replicas.
func TestLimitsByScope(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		keys := accountsNamed("k1", "k2", "k3")
		keys[0].Account, keys[1].Account = "org", "org"
		for scope, want := range map[LimitScope]int{PerKey: 6, PerAccount: 4, PerPool: 2} {
			l := few(2)
			l.Scope = scope
			cfg := Config{Name: string(scope), Keys: keys, Limits: []Limit{l}}
			a, b := visit(t, rdb, cfg), visit(t, rdb, cfg)
			got := a.count(noon, 1, Options{}, nil) + b.count(noon, 20, Options{}, nil) + a.count(noon, 20, Options{}, nil)
			if got != want {
				t.Errorf("two for each %s: %d calls, want %d", scope, got, want)
			}
		}
	})
}

// Limits of several scopes hold at once.
func TestLimitsOfAllScopesTogether(t *testing.T) {
	t.Parallel()
	keys := accountsNamed("k1", "k2", "k3", "k4")
	for i := range keys {
		keys[i].Account = []string{"a", "a", "b", "b"}[i]
	}
	key, account, pool := few(2), few(3), few(5)
	key.Scope, account.Scope, pool.Scope = PerKey, PerAccount, PerPool
	v := visit(t, redistest.Client(t), Config{Keys: keys, Limits: []Limit{key, account, pool}})
	grants, _ := v.ask(noon, 20, Options{}, nil)
	byKey, byAccount := map[string]int{}, map[string]int{}
	for _, g := range grants {
		byKey[g.key]++
		byAccount[g.account]++
	}
	if len(grants) != 5 {
		t.Errorf("%d calls, the pool allows 5", len(grants))
	}
	for k, n := range byKey {
		if n > 2 {
			t.Errorf("key %s has %d calls, limit 2", k, n)
		}
	}
	for a, n := range byAccount {
		if n > 3 {
			t.Errorf("account %s has %d calls, limit 3", a, n)
		}
	}
}

// A limit with models counts theirs alone, together; one without counts every call.
func TestLimitsByModel(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		some, all := few(2), few(7)
		some.Models = []string{"gpt-5*", "o4"}
		all.Period *= 2
		v := visit(t, rdb, Config{Keys: accountsNamed("k"), Limits: []Limit{some, all}})
		for _, step := range []struct {
			model      string
			calls, got int
		}{
			{"gpt-5-mini", 1, 1},
			{"o4", 5, 1},      // the family has two
			{"gpt-5", 1, 0},   // and no more
			{"o4-mini", 2, 2}, // that is none of them
			{"", 2, 2},        // that neither
			{"claude", 5, 1},  // seven in all
			{"", 1, 0},
		} {
			if got := v.count(noon, step.calls, Options{Model: step.model}, nil); got != step.got {
				t.Errorf("%d calls of %q: %d admitted, want %d", step.calls, step.model, got, step.got)
			}
		}
	})
}

// What costs more than a limit of other models allows is still served.
func TestALimitOfOtherModelsDoesNotRefuse(t *testing.T) {
	t.Parallel()
	l := Limit{Metric: Tokens, Rate: 100, Period: time.Minute, Models: []string{"small-*"}}
	p, err := newPlan(Config{Name: "p", Keys: accountsNamed("k"), Limits: []Limit{l}})
	if err != nil {
		t.Fatal(err)
	}
	for model, refused := range map[string]bool{"small-1": true, "large-1": false, "": false} {
		if _, err := p.cost(Cost{Tokens: 101}, model); (err != nil) != refused {
			t.Errorf("101 tokens of %q: %v", model, err)
		}
	}
}

func TestModelPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, model string
		want           bool
	}{
		{"gpt-5", "gpt-5", true},
		{"gpt-5", "gpt-5-mini", false},
		{"gpt-5*", "gpt-5", true},
		{"gpt-5*", "gpt-5-mini", true},
		{"gpt-5*", "gpt-4", false},
		{"*", "anything", true},
		{"*", "", false}, // no model is known
		{"", "", false},
		{"*-mini", "gpt-5-mini", true},
		{"*-mini", "gpt-5-mini-2", false},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-c-b", false},
		{"**", "x", true},
		{"a.c", "abc", false},
		{"[a-z]", "b", false},
		{"模*", "模型", true},
	} {
		if got := (Limit{Models: []string{c.pattern}}).counts(c.model); got != c.want {
			t.Errorf("%q counts %q: %v", c.pattern, c.model, got)
		}
	}
}
