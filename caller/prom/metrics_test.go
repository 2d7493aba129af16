package prom_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/prom"
	"github.com/penstock/penstock/internal/redistest"
)

// Before any call, levels of 0 and counters of 0 are there.
func TestMetrics_ZerosArePresent(t *testing.T) {
	t.Parallel()
	f := newFleet(t, redistest.Client(t), prom.Config{})
	got := gather(t, f.registry)
	for name, labels := range map[string][]string{
		"penstock_calls_waiting": nil, "penstock_calls_in_flight": nil, "penstock_redis_failing_seconds_total": nil,
		"penstock_key_disabled": {"key", "k2"}, "penstock_key_cooldown_seconds": {"key", "k1"},
		"penstock_limit_used_ratio": {"account", "org-a"}, "penstock_account_permits_held": {"account", "org-b"},
		"penstock_redis_state_losses_total": nil, "penstock_redis_writes_restored_total": nil,
		"penstock_cooldowns_total": {"key", "k1"}, "penstock_disabled_total": {"key", "k1"},
		"penstock_call_refusals_total": {"reason", "deadline"}, "penstock_fleet_calls_waiting": {"priority", "high"},
	} {
		if n := got.sum(t, name, labels...); n != 0 {
			t.Errorf("%s%v: got %v, want 0", name, labels, n)
		}
	}
	if n := got.sum(t, "penstock_fleet_read_success"); n != 1 {
		t.Errorf("penstock_fleet_read_success: got %v, want 1", n)
	}
}

// A disabled key, a cooldown and a refusal are exported.
func TestMetrics_ShowWhatGoesWrong(t *testing.T) {
	t.Parallel()
	f := newFleet(t, redistest.Client(t), prom.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := f.pools[0].Disable(ctx, "k1", "leaked"); err != nil {
		t.Fatal(err)
	}
	_, err := caller.Do(ctx, f.pools[1], caller.Cost{caller.Requests: 1_000_000}, func(context.Context, *caller.Grant) (int, error) { return 0, nil })
	if err == nil {
		t.Error("a call that never fits succeeded")
	}
	got := gather(t, f.registry)
	for _, row := range []struct {
		name   string
		labels []string
	}{
		{"penstock_key_disabled", []string{"key", "k1"}},
		{"penstock_call_refusals_total", []string{"reason", "never_fits"}},
		{"penstock_calls_total", []string{"outcome", "refused"}},
	} {
		if n := got.sum(t, row.name, row.labels...); n != 1 {
			t.Errorf("%s%v: got %v, want 1", row.name, row.labels, n)
		}
	}
}

// Models above MaxModels count as one, and a label can be left out.
func TestMetrics_BoundLabels(t *testing.T) {
	t.Parallel()
	m, err := prom.New(prom.Config{MaxModels: 2, Without: []prom.Label{prom.LabelKey, prom.LabelPriority}})
	if err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m)
	h := m.Hooks("pool")
	for i := range 10 {
		model := fmt.Sprint("model-", i)
		h.CallEnded(t.Context(), caller.CallEnd{Model: model})
		h.Attempted(t.Context(), caller.Attempt{Model: model, Account: "a", Key: fmt.Sprint("key-", i), Verdict: caller.Verdict{Outcome: caller.Throttled}})
	}
	got := gather(t, r)
	if n := len(got["penstock_calls_total"].GetMetric()); n != 3 {
		t.Errorf("series of calls: got %d, want 3: two models and others", n)
	}
	if n := got.sum(t, "penstock_attempts_total", "model", prom.Other, "outcome", "throttled"); n != 8 {
		t.Errorf("attempts of other models: got %v, want 8", n)
	}
	for _, s := range got["penstock_attempts_total"].GetMetric() {
		for _, l := range s.GetLabel() {
			if l.GetName() == "key" {
				t.Errorf("key is left out: got %v", s)
			}
		}
	}
	for _, bad := range []prom.Config{{MaxModels: -1}, {Without: []prom.Label{"pool"}}} {
		if _, err := prom.New(bad); err == nil {
			t.Errorf("New(%+v): got no error", bad)
		}
	}
}

// A Pool of the same name goes on with the series of a closed one.
func TestMetrics_OutliveAPool(t *testing.T) {
	t.Parallel()
	f := newFleet(t, redistest.Client(t), prom.Config{})
	f.run(t, 60)
	before := gather(t, f.registry).sum(t, "penstock_charged_units_total", "metric", "requests")
	for _, c := range f.pools {
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := gather(t, f.registry)
	if after := got.sum(t, "penstock_charged_units_total", "metric", "requests"); after != before || after < 60 {
		t.Errorf("requests charged after Close: got %v, want %v", after, before)
	}
	if got["penstock_key_disabled"] != nil {
		t.Error("the fleet's state is exported without an open Pool")
	}
}

// A hook allocates nothing once its label set is known.
func TestHooks_AllocateNothing(t *testing.T) {
	m, err := prom.New(prom.Config{})
	if err != nil {
		t.Fatal(err)
	}
	h := m.Hooks("pool")
	ctx, latency := t.Context(), time.Millisecond
	call := func() {
		latency = latency*5/4%time.Minute + 1 // in different buckets
		w := caller.Waits{Rate: latency, Redis: latency}
		h.Admitted(ctx, caller.Admission{Key: "k", Account: "a", Model: "m", Waited: latency, WaitedFor: w})
		h.Attempted(ctx, caller.Attempt{Key: "k", Account: "a", Model: "m", Latency: latency, Retrying: true})
		h.Released(ctx, caller.Release{Key: "k", Account: "a", Model: "m", Held: latency})
		h.ScriptCalled(ctx, caller.ScriptCall{Asked: 1, RoundTrip: latency})
		h.CallEnded(ctx, caller.CallEnd{Key: "k", Account: "a", Model: "m", Latency: latency})
	}
	for range 2000 { // so that every bucket exists
		call()
	}
	if n := testing.AllocsPerRun(1000, call); n > 0 {
		t.Errorf("allocations per call: got %v, want 0", n)
	}
}
