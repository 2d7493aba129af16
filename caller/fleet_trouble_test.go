package caller_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/retry"
)

// If another client uses up an account, no replica uses it until it has recovered.
func TestFleet_AvoidsAnAccountThatAnotherClientUses(t *testing.T) {
	p := provider(2, []apisim.Limit{{Metric: apisim.Requests, Limit: 100, Per: 2 * time.Second}}, 0)
	f := start(t, redistest.Client(t), p, 2, roomy)
	if used, err := f.sim.ForeignUse("org-0", apisim.Requests, 100); used != 100 || err != nil {
		t.Fatal(used, err)
	}
	f.run(t, 30, 10)
	l := f.sim.Ledger()
	// One refusal to each replica at most, and of the calls that were under way with it.
	if n := l.Account("org-0").Throttled[apisim.OverRequests]; n < 1 || n > 20 {
		t.Errorf("got %d calls refused, want 1 to 20", n)
	}
	if l.Account("org-1").Throttled[apisim.OverRequests] != 0 || l.Account("org-1").Admitted < 30 {
		t.Errorf("got %+v of the other account, want no refusal and at least 30 calls", l.Account("org-1").Counts)
	}
}

// A cooldown that one replica starts keeps all from the account. Of two cooldowns the later end counts.
func TestFleet_SharesCooldowns(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	accounts := keys(caller.Key{ID: "a1", Account: "a", Secret: caller.NewSecret("1")},
		caller.Key{ID: "a2", Account: "a", Secret: caller.NewSecret("2")}, key("b"))
	here, there := join(t, redistest.Another(t, rdb), accounts), join(t, redistest.Another(t, rdb), accounts)
	first := ""
	_, err := caller.Do(t.Context(), here, nil, func(_ context.Context, g *caller.Grant) (int, error) {
		if g.Attempt > 1 {
			return 0, nil
		}
		first = g.Account
		return 0, verdict{caller.Verdict{Outcome: caller.Throttled, Scope: caller.ScopeAccount, RetryAfter: time.Hour}}
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if account := used(t, there); account == first {
			t.Fatalf("got a call on %s during its cooldown, want none", account)
		}
	}
	// A shorter cooldown doesn't end a longer one.
	block := func(c *caller.Pool, d time.Duration) error {
		ctx := testkit.Context(t)
		_, err := caller.Do(ctx, c, nil, func(context.Context, *caller.Grant) (int, error) {
			return 0, verdict{caller.Verdict{Outcome: caller.Throttled, Scope: caller.ScopeAccount, RetryAfter: d}}
		})
		return err
	}
	var wg sync.WaitGroup
	for c, d := range map[*caller.Pool]time.Duration{here: time.Hour, there: 2 * time.Hour} {
		wg.Go(func() {
			if err := block(c, d); !errors.Is(err, caller.ErrDeadline) {
				t.Errorf("got %v, want ErrDeadline", err)
			}
		})
	}
	wg.Wait()
	var e *caller.Error
	if err := block(here, time.Minute); !errors.As(err, &e) || !errors.Is(err, caller.ErrDeadline) || e.RetryAfter < 50*time.Minute {
		t.Errorf("got %v, want ErrDeadline and an hour", err)
	}
}

// used makes a call and returns the account that it used.
func used(t *testing.T, c *caller.Pool) string {
	t.Helper()
	account, err := caller.Do(testkit.Context(t), c, nil, func(_ context.Context, g *caller.Grant) (string, error) {
		return g.Account, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return account
}

type verdict struct{ v caller.Verdict }

func (e verdict) Error() string           { return "the provider: " + e.v.Outcome.String() }
func (e verdict) Verdict() caller.Verdict { return e.v }

// When the provider rejects a key, all replicas stop using it, and no call is lost.
func TestFleet_StopsUsingARejectedKey(t *testing.T) {
	p := provider(2, nil, 0)
	p.Latency = apisim.Latency{Min: time.Millisecond, Max: 10 * time.Millisecond}
	var sim *apisim.Server
	p.OnAdmit = func(n int64) {
		if n == 50 {
			_ = sim.Revoke("org-0-key-0")
		}
	}
	f := start(t, redistest.Client(t), p, 2)
	sim = f.sim
	f.run(t, 150, 10)
	l := f.check(t)
	at := slices.IndexFunc(l.Account("org-0").Keys, func(k apisim.KeyLedger) bool { return k.ID == "org-0-key-0" })
	k := l.Account("org-0").Keys[at]
	if !k.Revoked || k.AfterRevocation > 20 {
		t.Errorf("got %d calls on the rejected key, want at most 20", k.AfterRevocation)
	}
	after := k.AfterRevocation
	f.run(t, 20, 5)
	if n := f.sim.Ledger().Account("org-0").Keys[at].AfterRevocation; n != after {
		t.Errorf("got %d more calls on the rejected key, want none", n-after)
	}
}

// An account without credit is disabled in all replicas, with both of its keys.
func TestFleet_StopsUsingAnAccountWithoutCredit(t *testing.T) {
	p := provider(2, nil, 0)
	f := start(t, redistest.Client(t), p, 2, func(c *caller.Config) {
		c.Profile.Judge = func(r *http.Response, body []byte) caller.Verdict {
			v := caller.JudgeStatus(r, body)
			if bytes.Contains(body, []byte("insufficient_quota")) {
				v.Outcome = caller.OutOfCredit
			}
			return v
		}
	})
	if err := f.sim.OutOfCredit("org-0"); err != nil {
		t.Fatal(err)
	}
	f.run(t, 40, 4)
	a := f.sim.Ledger().Account("org-0")
	if n := a.Throttled[apisim.NoCredit]; a.Admitted != 0 || n < 1 || n > 8 {
		t.Errorf("got %d calls admitted and %d refused, want none and 1 to 8", a.Admitted, n)
	}
}

// If every key is rejected, calls fail at once with ErrNoKeys, the reason, and the time until a key is tried again.
func TestFleet_FailsAtOnceWithoutKeys(t *testing.T) {
	t.Parallel()
	p := provider(2, nil, 0)
	f := start(t, redistest.Client(t), p, 2, func(c *caller.Config) { c.Retry = retry.Policy{Attempts: 10} })
	for _, a := range p.Accounts {
		for _, k := range a.Keys {
			if err := f.sim.Revoke(k.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 4 { // a call that two keys reject ends with the rejection
		err := f.post(t.Context(), i%2, "call")
		if err == nil || !contains(err, "401") {
			t.Fatalf("call %d: got %v, want the provider's 401", i, err)
		}
	}
}
