package admission

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/scripts"
)

// few allows n calls at once, and then for a long time none.
func few(n int64) Limit { return bucket(2*n, 1000*time.Hour, n) }

// A limit of each key, of each account, of the pool: each counts what it is of, over both processes.
func TestLimit_CountsByScope(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		for scope, want := range map[Scope]int{PerKey: 6, PerAccount: 4, PerPool: 2} {
			cfg := configOf([]Limit{scoped(few(2), scope)})
			cfg.Pool, cfg.Accounts = string(scope), append(orgOf("k1", "k2"), accountsNamed("k3")...)
			a, b := visit(t, rdb, cfg), visit(t, rdb, cfg)
			got := a.count(noon, 1, anyCall) + b.count(noon, 20, anyCall) + a.count(noon, 20, anyCall)
			if got != want {
				t.Errorf("two for each %s: got %d calls, want %d", scope, got, want)
			}
		}
	})
}

// Limits of several scopes hold at once.
func TestLimit_AllScopesHoldTogether(t *testing.T) {
	t.Parallel()
	cfg := configOf([]Limit{scoped(few(2), PerKey), scoped(few(3), PerAccount), scoped(few(5), PerPool)})
	for _, name := range []string{"a", "b"} {
		cfg.Accounts = append(cfg.Accounts, Account{ID: name, Keys: []Key{{name + "1", 1}, {name + "2", 1}}})
	}
	v := visit(t, redistest.Client(t), cfg)
	grants, _ := v.ask(noon, 20, anyCall)
	byKey, byAccount := map[string]int{}, map[string]int{}
	for _, g := range grants {
		byKey[g.key]++
		byAccount[g.account]++
	}
	if len(grants) != 5 {
		t.Errorf("got %d calls, want the pool's 5", len(grants))
	}
	for k, n := range byKey {
		if n > 2 {
			t.Errorf("key %s: got %d calls, want at most 2", k, n)
		}
	}
	for a, n := range byAccount {
		if n > 3 {
			t.Errorf("account %s: got %d calls, want at most 3", a, n)
		}
	}
}

// A limit with models counts theirs alone, together; one without counts every call.
func TestLimit_CountsByModel(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		some, all := few(2), few(7)
		some.Name, some.Models = "some", []string{"gpt-5*", "o4"}
		v := visit(t, rdb, configOf([]Limit{some, all}, "k"))
		for _, step := range []struct {
			model       string
			calls, want int
		}{
			{"gpt-5-mini", 1, 1},
			{"o4", 5, 1},      // the model group has two
			{"gpt-5", 1, 0},   // and no more
			{"o4-mini", 2, 2}, // is in another group
			{"", 2, 2},        // so is that
			{"claude", 5, 1},  // seven in all
			{"", 1, 0},
		} {
			if got := v.count(noon, step.calls, callFor(step.model)); got != step.want {
				t.Errorf("%d calls of %q: got %d, want %d", step.calls, step.model, got, step.want)
			}
		}
	})
}

// A pattern matches a model as a whole, with '*' for any text, and never an unknown model.
func TestMatches_Patterns(t *testing.T) {
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
		if got := Matches([]string{c.pattern}, c.model); got != c.want {
			t.Errorf("%q, %q: got %v, want %v", c.pattern, c.model, got, c.want)
		}
	}
}

// slows is what a 429 on the pool's only counter reports.
func slows(v *visitor) []report { return slowDown(v.cfg.Limits, &v.topology.targets[0], 0.75, 0) }

// paceAt measures the share of its pace at which an idle limit is used.
func paceAt(v *visitor, now time.Time) float64 {
	v.t.Helper()
	grants, _ := v.ask(now, 3, Request{Priority: high})
	if len(grants) != 3 {
		v.t.Fatalf("got %d calls, want 3", len(grants))
	}
	return v.cfg.Limits[0].Interval / (grants[2].in - grants[1].in).Seconds()
}

func near(a, b float64) bool { return math.Abs(a-b) < 0.001 }

// After a 429 all processes use the limit at three quarters of its pace, which comes back evenly. 429s that come
// together count as one, and however many there are, some pace is left.
func TestSlowDown_RecoversLinearly(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		cfg := configOf([]Limit{window(100, 10*time.Second)}, "k") // whole again after 100 s from nothing
		cfg.Horizon = time.Minute
		a, b := visit(t, rdb, cfg), visit(t, rdb, cfg)
		if got := paceAt(a, noon); !near(got, 1) {
			t.Fatalf("at first: got pace %v, want 1", got)
		}
		b.ask(noon, 0, anyCall)
		at := noon.Add(time.Minute)
		a.ask(at, 0, anyCall, append(slows(a), slows(a)...)...)
		b.ask(at.Add(2400*time.Millisecond), 0, anyCall, slows(b)...) // within a quarter of the period
		for after, want := range map[time.Duration]float64{
			5 * time.Second: 0.80, 10 * time.Second: 0.85, 20 * time.Second: 0.95, 25 * time.Second: 1, time.Hour: 1,
		} {
			// Each on a pool of its own, since measuring uses the limit.
			other := cfg
			other.Pool = fmt.Sprint("after ", after)
			for name, value := range rdb.HGetAll(t.Context(), scripts.PoolKey("p")).Val() {
				if !strings.HasPrefix(name, "s:") {
					rdb.HSet(t.Context(), scripts.PoolKey(other.Pool), name, value)
				}
			}
			if got := paceAt(visit(t, rdb, other), at.Add(after)); !near(got, want) {
				t.Errorf("%v after the 429: got pace %.4f, want %.2f", after, got, want)
			}
		}
		again := at.Add(5 * time.Second)
		b.ask(again, 0, anyCall, slows(b)...)
		if got := paceAt(a, again); !near(got, 0.8*0.75) {
			t.Errorf("after another 429: got pace %.4f, want 0.6", got)
		}
		for range 50 {
			again = again.Add(2500 * time.Millisecond)
			a.ask(again, 0, anyCall, slows(a)...)
		}
		if got := paceAt(b, again.Add(time.Millisecond)); got < 0.05 || got > 0.12 {
			t.Errorf("after fifty more: got pace %.4f, want 0.05 to 0.12", got)
		}
	})
}
