package admission

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// shares lets two processes in turn ask for one call at a time, a step apart, and counts what the accounts get.
func shares(t *testing.T, rdb *redis.Client, cfg Config, calls int, step time.Duration) map[string]int {
	t.Helper()
	processes := []*visitor{visit(t, rdb, cfg), visit(t, rdb, cfg)}
	got := map[string]int{}
	for i := range calls {
		got[processes[i%2].account(noon.Add(time.Duration(i)*step), anyCall)]++
	}
	return got
}

// Below the limits, an account with three times the weight goes first until the other has been ready for three times as
// long: it gets two calls in three, to three in four.
func TestLeastLoaded_GoesByWeight(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	cfg := configOf([]Limit{window(600, time.Minute)}, "light", "heavy")
	for weight, want := range map[int][2]int{1: {190, 210}, 3: {260, 305}} {
		cfg.Accounts[1].Keys[0].Weight = weight
		cfg.Pool = string(rune('a' + weight))
		got := shares(t, rdb, cfg, 400, time.Second)
		if n := got["heavy"]; n < want[0] || n > want[1] || n+got["light"] != 400 {
			t.Errorf("weights 1 and %d: got %v, want %v for the heavy one", weight, got, want)
		}
	}
}

// Processes together keep the turns, and the weights exactly.
func TestRoundRobin_GoesByWeight(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		cfg := configOf(nil, "one", "two", "three")
		cfg.Strategy = RoundRobin
		cfg.Accounts[1].Keys[0].Weight, cfg.Accounts[2].Keys[0].Weight = 2, 3
		got := shares(t, rdb, cfg, 600, time.Millisecond)
		for account, want := range map[string]int{"one": 100, "two": 200, "three": 300} {
			if n := got[account]; n < want-3 || n > want+3 {
				t.Errorf("account %s: got %v, want %d", account, got, want)
			}
		}
	})
}

// An account without room loses its turn, and isn't made up for it later.
func TestRoundRobin_PassesOverTheFull(t *testing.T) {
	t.Parallel()
	cfg := configOf([]Limit{bucket(3, time.Hour, 2)}, "a", "b")
	cfg.Strategy = RoundRobin
	v := visit(t, redistest.Client(t), cfg)
	grants, _ := v.ask(noon, 2, anyCall, cooldown("a", noon.Add(time.Minute)))
	if len(grants) != 2 || grants[0].account != "b" || grants[1].account != "b" {
		t.Fatalf("got %v, want both of b", grants)
	}
	later := noon.Add(2 * time.Hour) // both have room again
	got := map[string]int{}
	for range 4 {
		got[v.account(later, anyCall)]++
	}
	if got["a"] != 2 || got["b"] != 2 {
		t.Errorf("later: got %v, want two each", got)
	}
}

// The first account serves while it has room, also again; the next ones what it has no room for.
func TestFirstAvailable_SpillsOver(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		cfg := configOf([]Limit{bucket(60, time.Minute, 2)}, "main", "spare", "last") // one a second
		cfg.Strategy = FirstAvailable
		processes := []*visitor{visit(t, rdb, cfg), visit(t, rdb, cfg)}
		for i, want := range []string{"main", "main", "spare", "spare", "last", "last", ""} {
			if got := processes[i%2].account(noon, anyCall); got != want {
				t.Errorf("call %d: got account %q, want %q", i, got, want)
			}
		}
		for i, want := range []string{"main", "spare", "last", ""} {
			if got := processes[i%2].account(noon.Add(time.Second), anyCall); got != want {
				t.Errorf("a second later, call %d: got account %q, want %q", i, got, want)
			}
		}
	})
}
