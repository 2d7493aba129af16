package caller_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	profiles "github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

var errRejected = verdict{caller.Verdict{Outcome: caller.KeyRejected, Scope: caller.ScopeKey, Reason: "401"}}

// rejecting returns a function for Do that the keys of these IDs reject.
func rejecting(used *[]string, ids ...string) func(context.Context, *caller.Grant) (int, error) {
	return func(_ context.Context, g *caller.Grant) (int, error) {
		*used = append(*used, g.Key)
		if slices.Contains(ids, g.Key) {
			return 0, errRejected
		}
		return 0, nil
	}
}

// notReady returns the keys that are not in use.
func notReady(t *testing.T, c *caller.Pool) []string {
	t.Helper()
	state, err := c.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, k := range state.Keys {
		if !k.Ready() {
			out = append(out, k.ID)
		}
	}
	return out
}

// A key that rejects a call which another key serves is disabled for seconds, which double while its tests fail.
func TestRejected_ABlockBeginsShortAndDoubles(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, server *testkit.BubbleServer) {
		var disabled []caller.Block
		c := join(t, server.Client(t), keys(secretKeys("dead", "good")...), func(cfg *caller.Config) {
			cfg.Strategy, cfg.Retry.Attempts = caller.FirstAvailable, 2
			cfg.Tuning.MaxRejection = 10 * time.Second
			cfg.Hooks.Disabled = func(_ context.Context, b caller.Block) { disabled = append(disabled, b) }
		})
		var tested []time.Duration
		last := time.Now()
		for range 400 { // 40 s
			var used []string
			if _, err := caller.Do(t.Context(), c, nil, rejecting(&used, "dead")); err != nil {
				t.Fatal(err)
			}
			if used[0] == "dead" {
				tested, last = append(tested, time.Since(last).Round(time.Second)), time.Now()
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got, want := fmt.Sprint(tested), "[0s 2s 4s 8s 10s 10s]"; got != want {
			t.Errorf("got tests after %s, want %s", got, want)
		}
		if len(disabled) == 0 || disabled[0].Key != "dead" || disabled[0].Reason != "401" {
			t.Errorf("got the blocks %+v, want one of the key by its ID", disabled)
		}
	})
}

// A call that two keys reject in the same way is at fault: it ends with its rejection, and the keys serve other calls.
func TestRejected_ACallThatTwoKeysRejectIsAtFault(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		if r.URL.Path == "/app" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":{"code":"invalid_api_key","message":"Incorrect API key provided"}}`)
		}
	}))
	defer server.Close()
	with := func(c *caller.Config) { c.Profile = profiles.OpenAI() }
	here := join(t, rdb, keys(secretKeys("a", "b", "c")...), with)
	there := join(t, rdb, keys(secretKeys("a", "b", "c")...), with)
	client := &http.Client{Transport: here.Transport(nil, caller.TransportConfig{})}
	for range 10 {
		n.Store(0)
		res, err := client.Get(server.URL + "/app")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized || n.Load() != 2 {
			t.Fatalf("got status %d after %d requests, want 401 after 2", res.StatusCode, n.Load())
		}
	}
	if bad := notReady(t, there); len(bad) > 0 {
		t.Errorf("got the keys %v not in use, want all in use", bad)
	}
	res, err := (&http.Client{Transport: there.Transport(nil, caller.TransportConfig{})}).Get(server.URL + "/user")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("got %v, %v for another call, want success", res, err)
	}
}

// Rejections now and then cost the calls that met them, and no others, also where there is one key.
func TestRejected_SporadicRejectionsBlockNothing(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb)
	failed := 0
	for i := range 60 {
		_, err := caller.Do(t.Context(), c, nil, func(context.Context, *caller.Grant) (int, error) {
			if i%5 == 2 {
				return 0, errRejected
			}
			return 0, nil
		})
		if err != nil {
			failed++
			if errors.Is(err, caller.ErrNoKeys) || i%5 != 2 {
				t.Fatalf("call %d: got %v, want the rejection of every fifth call alone", i, err)
			}
		}
	}
	if failed != 12 {
		t.Errorf("got %d calls failed, want 12", failed)
	}
}

// A key that rejects two calls without serving one between them is disabled.
func TestRejected_TwiceDisablesTheOnlyKey(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb)
	for i := range 3 {
		var used []string
		_, err := caller.Do(t.Context(), c, nil, rejecting(&used, "k"))
		if errors.Is(err, caller.ErrNoKeys) != (i == 2) {
			t.Errorf("call %d: got %v, want ErrNoKeys from the third on", i, err)
		}
	}
}

// A process with a wrong secret takes nothing from a process with the right one.
func TestSecret_AWrongOneTakesNothing(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.Header.Get("Authorization"), "right") {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	wrong := join(t, rdb, keys(caller.Key{ID: "k", Secret: caller.NewSecret("wrong")}))
	right := join(t, rdb, keys(caller.Key{ID: "k", Secret: caller.NewSecret("right")}))
	get := func(c *caller.Pool) (int, error) {
		res, err := (&http.Client{Transport: c.Transport(nil, caller.TransportConfig{})}).Get(server.URL)
		if err != nil {
			return 0, err
		}
		res.Body.Close()
		return res.StatusCode, nil
	}
	for range 5 {
		if status, err := get(wrong); err == nil && status != http.StatusUnauthorized {
			t.Fatalf("got status %d with the wrong secret, want 401", status)
		}
		if status, err := get(right); err != nil || status != http.StatusOK {
			t.Fatalf("got status %d, %v with the right secret, want 200", status, err)
		}
	}
	if _, err := get(wrong); !errors.Is(err, caller.ErrNoKeys) {
		t.Errorf("got %v with the wrong secret, want ErrNoKeys", err)
	}
	// A new secret under the same ID starts clean, at once.
	if err := wrong.SetKeys([]caller.Key{{ID: "k", Secret: caller.NewSecret("right")}}); err != nil {
		t.Fatal(err)
	}
	if status, err := get(wrong); err != nil || status != http.StatusOK {
		t.Errorf("got status %d, %v after the rotation, want 200", status, err)
	}
}

// An operator's order applies to a key whichever secret it has. Orders on unknown names are errors.
func TestDisable_WhicheverSecret(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	a := join(t, rdb, keys(caller.Key{ID: "k", Secret: caller.NewSecret("one")}))
	b := join(t, rdb, keys(caller.Key{ID: "k", Secret: caller.NewSecret("other")}))
	if err := a.Disable(t.Context(), "k", "leaked"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*caller.Pool{a, b} {
		if _, err := caller.Do(t.Context(), c, nil, nop); !errors.Is(err, caller.ErrNoKeys) || !contains(err, "leaked") {
			t.Errorf("got %v, want ErrNoKeys", err)
		}
	}
	if err := b.Enable(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := caller.Do(t.Context(), a, nil, nop); err != nil {
		t.Errorf("got %v after Enable, want success", err)
	}
	for name, err := range map[string]error{
		"Disable": a.Disable(t.Context(), "x", ""), "Enable": a.Enable(t.Context(), "x"), "EnableAccount": a.EnableAccount(t.Context(), "x"),
	} {
		if err == nil || !contains(err, "no ") {
			t.Errorf("%s: got %v for an unknown name, want an error", name, err)
		}
	}
}

// A model's quota is the model's: the account serves other models, whether or not limits tell models apart.
func TestModelOnly_OtherModelsAreServed(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	for _, l := range []caller.Limit{perMinute(6000), {Metric: caller.Requests, Rate: 6000, Period: time.Minute, Models: []string{"*"}, Burst: 100}} {
		c := join(t, rdb, keys(secretKeys("a", "b")...), limits(l), func(cfg *caller.Config) { cfg.Name += fmt.Sprint(len(l.Models)) })
		sent := map[string]int{}
		call := func(model string) error {
			ctx, cancel := context.WithTimeout(caller.WithOptions(t.Context(), caller.Options{Model: model}), 5*time.Second)
			defer cancel()
			_, err := caller.Do(ctx, c, nil, func(_ context.Context, g *caller.Grant) (int, error) {
				sent[model+" "+g.Account]++
				if model == "pro" {
					return 0, verdict{caller.Verdict{
						Outcome: caller.Throttled, Scope: caller.ScopeAccount, ModelOnly: true, RetryAfter: time.Hour, Reason: "PerDay",
					}}
				}
				return 0, nil
			})
			return err
		}
		for range 3 {
			if err := call("pro"); !errors.Is(err, caller.ErrDeadline) {
				t.Errorf("got %v for the model without quota, want ErrDeadline", err)
			}
			if err := call("flash"); err != nil {
				t.Errorf("got %v for another model, want success", err)
			}
		}
		if sent["pro a"] != 1 || sent["pro b"] != 1 {
			t.Errorf("got %v, want each account asked once for the model without quota", sent)
		}
	}
}

// What one account can't do is tried once at another, and what was learned of account and model is remembered.
func TestElsewhere_IsTriedOnce(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, accounts(3), func(cfg *caller.Config) { cfg.Strategy, cfg.Retry.Attempts = caller.FirstAvailable, 2 })
	call := func(model string, has ...string) (used []string, err error) {
		_, err = caller.Do(caller.WithOptions(t.Context(), caller.Options{Model: model}), c, nil, func(_ context.Context, g *caller.Grant) (int, error) {
			used = append(used, g.Key)
			if slices.Contains(has, g.Key) {
				return 0, nil
			}
			return 0, verdict{caller.Verdict{Outcome: caller.ClientError, Scope: caller.ScopeAccount, Elsewhere: true, ModelOnly: true}}
		})
		return used, err
	}
	for i, want := range []string{"[k0 k1]", "[k1]", "[k1]"} {
		if used, err := call("m", "k1", "k2"); err != nil || fmt.Sprint(used) != want {
			t.Errorf("call %d: got %v, %v, want %s", i, used, err, want)
		}
	}
	for i, want := range []string{"[k0 k1]", "[k2]", "[k0]"} { // a model that no account has
		if used, err := call("typo"); err == nil || fmt.Sprint(used) != want {
			t.Errorf("call %d: got %v, %v, want the error after %s", i, used, err, want)
		}
	}
	if bad := notReady(t, c); len(bad) > 0 {
		t.Errorf("got the keys %v not in use, want all in use", bad)
	}
}

// One call disables one account that is closed or out of credit, goes on at the others, and another call disables the next.
func TestOutOfCredit_OneCallDisablesOneAccount(t *testing.T) {
	t.Parallel()
	for _, outcome := range []caller.Outcome{caller.OutOfCredit, caller.KeyRejected} {
		_, rdb := redistest.Mini(t)
		c := join(t, rdb, accounts(4), func(cfg *caller.Config) { cfg.Strategy, cfg.Retry.Attempts = caller.FirstAvailable, 2 })
		for i, want := range []string{"[k0 k1 k2]", "[k1 k2]", "[k2]"} {
			var used []string
			_, err := caller.Do(t.Context(), c, nil, func(_ context.Context, g *caller.Grant) (int, error) {
				used = append(used, g.Key)
				if g.Key < "k2" {
					return 0, verdict{caller.Verdict{Outcome: outcome, Scope: caller.ScopeAccount, Reason: "closed"}}
				}
				return 0, nil
			})
			if err != nil || fmt.Sprint(used) != want {
				t.Errorf("%v, call %d: got %v, %v, want %s", outcome, i, used, err, want)
			}
		}
	}
}
