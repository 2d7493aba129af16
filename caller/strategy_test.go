package caller

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// shares lets two replicas in turn ask for one call at a time, a step apart, and counts what the accounts get.
func shares(t *testing.T, rdb *redis.Client, cfg Config, calls int, step time.Duration) map[string]int {
	t.Helper()
	replicas := []*visitor{visit(t, rdb, cfg), visit(t, rdb, cfg)}
	got := map[string]int{}
	for i := range calls {
		got[replicas[i%2].account(noon.Add(time.Duration(i)*step), Options{})]++
	}
	return got
}

// Below the limits, an account with three times the weight goes first until the other has been ready for three times as
// long: it gets two calls in three, to three in four.
func TestHeadroomGoesByWeight(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	cfg := Config{Keys: accountsNamed("light", "heavy"), Limits: []Limit{{Metric: Requests, Rate: 600, Period: time.Minute}}}
	for weight, want := range map[int][2]int{1: {190, 210}, 3: {260, 305}} {
		cfg.Keys[1].Weight = weight
		cfg.Name = string(rune('a' + weight))
		got := shares(t, rdb, cfg, 400, time.Second)
		if n := got["heavy"]; n < want[0] || n > want[1] || n+got["light"] != 400 {
			t.Errorf("weights 1 and %d: %v, want %v for the heavy one", weight, got, want)
		}
	}
}

// Replicas together keep the turns, and the weights exactly.
func TestRoundRobinGoesByWeight(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		cfg := Config{Keys: accountsNamed("one", "two", "three"), Strategy: RoundRobin}
		cfg.Keys[1].Weight, cfg.Keys[2].Weight = 2, 3
		got := shares(t, rdb, cfg, 600, time.Millisecond)
		for account, want := range map[string]int{"one": 100, "two": 200, "three": 300} {
			if n := got[account]; n < want-3 || n > want+3 {
				t.Errorf("%v, want %d for %s", got, want, account)
			}
		}
	})
}

// An account without room loses its turn, and isn't made up for it later.
func TestRoundRobinPassesOverTheFull(t *testing.T) {
	t.Parallel()
	cfg := Config{
		Keys: accountsNamed("a", "b"), Strategy: RoundRobin,
		Limits: []Limit{{Metric: Requests, Rate: 3, Period: time.Hour, Algorithm: Bucket, Burst: 2, Scope: PerAccount}},
	}
	v := visit(t, redistest.Client(t), cfg)
	cool := item{PoolReport: coolAccount("a"), until: noon.Add(time.Minute)}
	grants, _ := v.ask(noon, 2, Options{}, nil, cool)
	if len(grants) != 2 || grants[0].account != "b" || grants[1].account != "b" {
		t.Fatalf("got %v, want both of b", grants)
	}
	later := noon.Add(2 * time.Hour) // both have room again
	got := map[string]int{}
	for range 4 {
		got[v.account(later, Options{})]++
	}
	if got["a"] != 2 || got["b"] != 2 {
		t.Errorf("later %v, want two each", got)
	}
}

// The first account serves while it has room, also again; the next ones what it has no room for.
func TestInOrderSpillsOver(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		cfg := Config{
			Keys: accountsNamed("main", "spare", "last"), Strategy: FirstAvailable,
			Limits: []Limit{{Metric: Requests, Rate: 60, Period: time.Minute, Algorithm: Bucket, Burst: 2}}, // one a second
		}
		replicas := []*visitor{visit(t, rdb, cfg), visit(t, rdb, cfg)}
		want := []string{"main", "main", "spare", "spare", "last", "last", ""}
		for i, account := range want {
			if got := replicas[i%2].account(noon, Options{}); got != account {
				t.Errorf("call %d went to %q, want %q", i, got, account)
			}
		}
		for i, account := range []string{"main", "spare", "last", ""} {
			if got := replicas[i%2].account(noon.Add(time.Second), Options{}); got != account {
				t.Errorf("a second later call %d went to %q, want %q", i, got, account)
			}
		}
	})
}
