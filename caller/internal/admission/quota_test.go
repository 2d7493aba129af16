package admission

import (
	"testing"
	"time"

	"github.com/penstock/penstock/scripts"
)

// A limit of which less is left than half of what the pool leaves unused is slowed down, because another client uses it.
func TestUsedByOthers_SlowsDownBelowHalfOfTheUnused(t *testing.T) {
	t.Parallel()
	l := bucket(1000, time.Minute, 1)
	l.Usable = 800 // a fifth is reserved
	for remaining, want := range map[int64]bool{1000: false, 150: false, 50: true, 0: true} {
		r, got := usedByOthers(&l, &Quota{Limit: 1000, Remaining: remaining}, 100*time.Millisecond)
		if got != want {
			t.Errorf("%d of 1,000 left, of which 200 should be: got %v, want %v", remaining, got, want)
		}
		if got && (r.Kind != scripts.SlowCounter || r.Factor != 0.95 || r.For != 10*time.Minute) {
			t.Errorf("got %+v, want 95%% of the pace for ten periods", r)
		}
	}
}

// A limit of which the pool leaves a unit or less unused isn't slowed down: the use of others doesn't show.
func TestUsedByOthers_NeedsMoreThanAUnitUnused(t *testing.T) {
	t.Parallel()
	l := bucket(10, time.Minute, 1) // leaves a sixtieth of a unit unused
	if r, got := usedByOthers(&l, &Quota{Remaining: 0}, 100*time.Millisecond); got {
		t.Errorf("got %+v, want nothing", r)
	}
}

// Of a daily count that is used beyond what the pool used, the whole use is reported.
func TestUsedByOthers_DailyCountReportsTheUse(t *testing.T) {
	t.Parallel()
	l := daily(100, 0)
	if r, ok := usedByOthers(&l, &Quota{Remaining: 70}, 0); !ok || r.Kind != scripts.UsedCounter || r.Units != 30 {
		t.Errorf("70 of 100 left: got %+v, %v, want 30 used", r, ok)
	}
	if r, ok := usedByOthers(&l, &Quota{Remaining: 100}, 0); ok {
		t.Errorf("all left: got %+v, want nothing", r)
	}
}

// A quota concerns the limits of its metric, period and rate that aren't the pool's.
func TestQuota_ConcernsItsLimit(t *testing.T) {
	t.Parallel()
	l := bucket(10, time.Minute, 1)
	for name, test := range map[string]struct {
		quota Quota
		scope Scope
		want  bool
	}{
		"metric alone":   {Quota{}, PerAccount, true},
		"all equal":      {Quota{Period: time.Minute, Limit: 10}, PerKey, true},
		"other metric":   {Quota{Metric: 1}, PerAccount, false},
		"other period":   {Quota{Period: time.Hour}, PerAccount, false},
		"other rate":     {Quota{Limit: 11}, PerAccount, false},
		"the pool's own": {Quota{}, PerPool, false},
	} {
		its := scoped(l, test.scope)
		if got := test.quota.concerns(&its); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

// A slowdown is one of the account's limits, for ten of their periods unless another time is given.
func TestSlowDown_SparesThePoolsLimits(t *testing.T) {
	t.Parallel()
	limits := []Limit{bucket(10, time.Minute, 1), scoped(bucket(10, time.Hour, 1), PerPool)}
	topo := topologyOf(limits...)
	for given, want := range map[time.Duration]time.Duration{0: 10 * time.Minute, time.Second: time.Second} {
		got := slowDown(limits, &topo.targets[0], 0.5, given)
		if len(got) != 1 || got[0].counter != topo.targets[0].counters[0] || got[0].Factor != 0.5 || got[0].For != want ||
			got[0].Quiet != 15*time.Second {
			t.Errorf("recovery in %v: got %+v, want half the pace of the account's limit for %v", given, got, want)
		}
	}
}
