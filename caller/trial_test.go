package caller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/scripts"
)

func off(block string, until time.Time) item {
	r := scripts.PoolReport{Kind: scripts.DisableBlock, Block: block, Reason: "revoked"}
	return item{PoolReport: r, until: until}
}

func clearing(block string) item {
	return item{PoolReport: scripts.PoolReport{Kind: scripts.ClearBlock, Block: block}}
}

// What is disabled is tried by exactly one call of the fleet after its time, whatever is disabled: a key of an account
// that works, the whole account.
func TestOneCallOfTheFleetTries(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, block := range map[string]string{"key": scripts.KeyBlock("k1"), "account": scripts.AccountBlock("org", "")} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				keys := accountsNamed("k1")
				keys[0].Account = "org"
				if name == "account" {
					keys = append(keys, accountsNamed("k2")...)
					keys[1].Account = "org"
				}
				cfg := Config{Name: name, Keys: keys}
				a, b := visit(t, rdb, cfg), visit(t, rdb, cfg)
				_, reply := a.ask(noon, 1, Options{}, nil, off(block, noon.Add(time.Hour)))
				if len(reply.Grants) != 0 || reply.Constraint != scripts.ConstraintDisabled || reply.Reason != "revoked" {
					t.Fatalf("at once: %+v", reply)
				}
				_, reply = b.ask(noon.Add(time.Hour-time.Millisecond), 5, Options{}, nil)
				if len(reply.Grants) != 0 || reply.Constraint != scripts.ConstraintDisabled {
					t.Fatalf("just before its time: %+v", reply)
				}
				later := noon.Add(time.Hour)
				tries, _ := a.ask(later, 5, Options{}, nil)
				others, reply := b.ask(later, 5, Options{}, nil)
				if len(tries) != 1 || !tries[0].trial || len(others) != 0 || reply.Constraint != scripts.ConstraintDisabled {
					t.Fatalf("after its time: %v and %v", tries, others)
				}

				// It failed: off again. It succeeds the next time: on for all.
				again := later.Add(time.Hour)
				if g, _ := a.ask(later, 5, Options{}, nil, off(block, again)); len(g) != 0 {
					t.Errorf("the trial failed, and %v are admitted", g)
				}
				if g, _ := b.ask(again, 3, Options{}, nil); len(g) != 1 || !g[0].trial {
					t.Fatalf("the second trial: %v", g)
				}
				if g, _ := a.ask(again, 5, Options{}, nil); len(g) != 0 {
					t.Errorf("during the second trial %v are admitted", g)
				}
				if g, _ := b.ask(again, 5, Options{}, nil, clearing(block)); len(g) != 5 || g[0].trial {
					t.Errorf("the trial succeeded, and %v are admitted", g)
				}
				if g, _ := a.ask(again, 5, Options{}, nil); len(g) != 5 || g[0].trial {
					t.Errorf("elsewhere %v are admitted", g)
				}
			})
		}
	})
}

// A call that tries and is never heard of again costs a minute, not the key.
func TestATrialThatIsLost(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	a, b := visit(t, rdb, Config{Keys: accountsNamed("k")}), visit(t, rdb, Config{Keys: accountsNamed("k")})
	a.ask(noon, 0, Options{}, nil, off(scripts.KeyBlock("k"), noon.Add(time.Second)))
	for i, v := range []*visitor{a, b, a} {
		now := noon.Add(time.Second + time.Duration(i)*time.Minute)
		if g, _ := v.ask(now, 5, Options{}, nil); len(g) != 1 || !g[0].trial {
			t.Fatalf("trial %d: %v", i, g)
		}
		if g, _ := b.ask(now.Add(59*time.Second), 5, Options{}, nil); len(g) != 0 {
			t.Errorf("before trial %d is given up: %v", i, g)
		}
	}
}

// A key on trial doesn't hold up the others of its account.
func TestOthersServeDuringATrial(t *testing.T) {
	t.Parallel()
	keys := accountsNamed("k1", "k2")
	keys[0].Account, keys[1].Account = "org", "org"
	v := visit(t, redistest.Client(t), Config{Keys: keys})
	v.ask(noon, 0, Options{}, nil, off(scripts.KeyBlock("k1"), noon.Add(time.Second)))
	grants, _ := v.ask(noon.Add(time.Second), 6, Options{}, nil)
	got := map[string]int{}
	for _, g := range grants {
		got[fmt.Sprint(g.key, " ", g.trial)]++
	}
	if got["k1 true"] != 1 || got["k2 false"] != 5 {
		t.Errorf("got %v, want one trial of k1 and the rest by k2", got)
	}
}

type revoked struct{ error }

func (revoked) Verdict() Verdict {
	return Verdict{Outcome: KeyRejected, Scope: ScopeKey, Reason: "revoked"}
}

// Two processes, and a key whose time has come: one call tries, the others hear that it is disabled; when the try has
// failed, everybody waits for the next; when one succeeds, the key is everybody's.
func TestTrialsOfTwoProcesses(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	callers := make([]*Pool, 2)
	for i := range callers {
		c, err := New(redistest.Another(t, rdb), Config{Name: "p", Keys: accountsNamed("k")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { leave(c) })
		callers[i] = c
	}
	seq := int64(0)
	due := func() { // it was disabled, and now it is time to try
		operator := scripts.EncodeConfig(&scripts.PoolConfig{Session: "operator", TTL: time.Second})
		seq++
		_, err := scripts.Admit(t.Context(), rdb, "p", &scripts.PoolCall{Config: operator, Seq: seq, Reports: []scripts.PoolReport{
			{Kind: scripts.ClearBlock, Block: scripts.KeyBlock("k")},
			{Kind: scripts.DisableBlock, Block: scripts.KeyBlock("k"), For: time.Millisecond, Reason: "revoked"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond)
	}
	for _, outcome := range []error{revoked{errors.New("no")}, nil} {
		due()
		tries := 0
		_, err := Do(t.Context(), callers[0], nil, func(context.Context, *Grant) (int, error) {
			tries++
			for range 5 {
				if _, err := Do(t.Context(), callers[1], nil, nothing); !errors.Is(err, ErrNoKeys) {
					t.Errorf("during the trial: %v", err)
				}
			}
			return 0, outcome
		})
		if tries != 1 || (err == nil) != (outcome == nil) {
			t.Errorf("%d tries that end with %v: %v", tries, outcome, err)
		}
		if outcome != nil {
			if _, err := Do(t.Context(), callers[1], nil, nothing); !errors.Is(err, ErrNoKeys) {
				t.Errorf("after the trial failed: %v", err)
			}
		}
	}
	for end := time.Now().Add(20 * time.Second); ; { // Redis hears of it soon
		_, err := Do(t.Context(), callers[1], nil, nothing)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrNoKeys) || time.Now().After(end) {
			t.Fatalf("after the trial succeeded: %v", err)
		}
	}
}
