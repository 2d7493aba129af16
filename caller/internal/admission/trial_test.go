package admission

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/scripts"
)

// disabled returns a report that a key or account is disabled until a time.
func disabled(key, accountID string, until time.Time) report {
	b := Block{Key: key, Account: accountID, For: until.Sub(noon), Disabled: true, Reason: "revoked"}
	return b.report("", noon)
}

// orgOf returns account "org" with keys.
func orgOf(keys ...string) []Account {
	its := Account{ID: "org"}
	for _, k := range keys {
		its.Keys = append(its.Keys, Key{ID: k, Weight: 1})
	}
	return []Account{its}
}

// What is disabled is tried by exactly one call of all processes after its time, whatever is disabled: a key of an
// account that works, the whole account.
func TestTrial_IsOneCallOfAllProcesses(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for _, name := range []string{"key", "account"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				cfg := configOf(nil)
				cfg.Pool, cfg.Accounts = name, orgOf("k1")
				off := func(until time.Time) report { return disabled("k1", "org", until) }
				on := unblockReport("org", "k1")
				if name == "account" {
					cfg.Accounts = orgOf("k1", "k2")
					off = func(until time.Time) report { return disabled("", "org", until) }
					on = unblockReport("org", "")
				}
				a, b := visit(t, rdb, cfg), visit(t, rdb, cfg)
				_, reply := a.ask(noon, 1, anyCall, off(noon.Add(time.Hour)))
				if len(reply.Grants) != 0 || reply.Constraint != scripts.ConstraintDisabled || reply.Reason != "revoked" {
					t.Fatalf("at once: got %+v, want no grant and the reason", reply)
				}
				_, reply = b.ask(noon.Add(time.Hour-time.Millisecond), 5, anyCall)
				if len(reply.Grants) != 0 || reply.Constraint != scripts.ConstraintDisabled {
					t.Fatalf("just before its time: got %+v, want no grant", reply)
				}
				later := noon.Add(time.Hour)
				tries, _ := a.ask(later, 5, anyCall)
				others, reply := b.ask(later, 5, anyCall)
				if len(tries) != 1 || !tries[0].trial || len(others) != 0 || reply.Constraint != scripts.ConstraintDisabled {
					t.Fatalf("after its time: got %v and %v, want one trial", tries, others)
				}

				// It failed: off again. It succeeds the next time: on for all.
				again := later.Add(time.Hour)
				if g, _ := a.ask(later, 5, anyCall, off(again)); len(g) != 0 {
					t.Errorf("after a failed trial: got %v, want no grant", g)
				}
				if g, _ := b.ask(again, 3, anyCall); len(g) != 1 || !g[0].trial {
					t.Fatalf("at its time: got %v, want a second trial", g)
				}
				if g, _ := a.ask(again, 5, anyCall); len(g) != 0 {
					t.Errorf("during the second trial: got %v, want no grant", g)
				}
				if g, _ := b.ask(again, 5, anyCall, on); len(g) != 5 || g[0].trial {
					t.Errorf("after a successful trial: got %v, want five grants", g)
				}
				if g, _ := a.ask(again, 5, anyCall); len(g) != 5 {
					t.Errorf("in the other process: got %v, want five grants", g)
				}
			})
		}
	})
}

// A trial whose result never comes costs a minute, not the key.
func TestTrial_WithoutAResultIsRepeated(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	a, b := visit(t, rdb, configOf(nil, "k")), visit(t, rdb, configOf(nil, "k"))
	a.ask(noon, 0, anyCall, disabled("k", "k", noon.Add(time.Second)))
	for i, v := range []*visitor{a, b, a} {
		now := noon.Add(time.Second + time.Duration(i)*time.Minute)
		if g, _ := v.ask(now, 5, anyCall); len(g) != 1 || !g[0].trial {
			t.Fatalf("got %v, want trial %d", g, i)
		}
		if g, _ := b.ask(now.Add(59*time.Second), 5, anyCall); len(g) != 0 {
			t.Errorf("before trial %d is given up: got %v, want no grant", i, g)
		}
	}
}

// A key on trial doesn't hold up the others of its account.
func TestTrial_OtherKeysServe(t *testing.T) {
	t.Parallel()
	cfg := configOf(nil)
	cfg.Accounts = orgOf("k1", "k2")
	v := visit(t, redistest.Client(t), cfg)
	v.ask(noon, 0, anyCall, disabled("k1", "org", noon.Add(time.Second)))
	grants, _ := v.ask(noon.Add(time.Second), 6, anyCall)
	got := map[string]int{}
	for _, g := range grants {
		got[fmt.Sprint(g.key, " ", g.trial)]++
	}
	if got["k1 true"] != 1 || got["k2 false"] != 5 {
		t.Errorf("got %v, want one trial of k1 and the rest by k2", got)
	}
}
