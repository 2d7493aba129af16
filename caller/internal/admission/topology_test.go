package admission

import (
	"slices"
	"testing"
	"time"
)

// namesOf returns the names of a topology's counters.
func namesOf(t *topology) []string {
	var names []string
	for _, c := range t.counters {
		names = append(names, c.name)
	}
	return names
}

// There is a target for each account and model group or, if a limit is each key's, for each key. Each limit has one
// counter for each thing that has it.
func TestTopology_TargetsAndCountersByScope(t *testing.T) {
	t.Parallel()
	own, org, all := bucket(1, time.Minute, 1), bucket(1, time.Hour, 1), bucket(1, 2*time.Hour, 1)
	own.Name, org.Name, all.Name = "own", "org", "all"
	own.Scope, all.Scope = PerKey, PerPool
	own.Models = []string{"m"}
	for name, test := range map[string]struct {
		limits   []Limit
		targets  int
		counters []string
	}{
		"none":     {nil, 2, nil},
		"accounts": {[]Limit{org, all}, 2, []string{"org:org", ":all", "solo:org"}},
		"keys":     {[]Limit{own, org}, 6, []string{"org:org", "solo:org", "k:k1:own", "k:k2:own", "k:solo:own"}},
	} {
		cfg := configOf(test.limits)
		cfg.Accounts = append(orgOf("k1", "k2"), accountsNamed("solo")...)
		groups := newModelGroups(test.limits, nil)
		groups.of(test.limits, "m")
		topo := newTopology(&cfg, mergeAccounts(nil, cfg.Accounts), groups.list, noon)
		if len(topo.targets) != test.targets || !slices.Equal(namesOf(topo), test.counters) {
			t.Errorf("%s: got %d targets, counters %q, want %d, %q", name, len(topo.targets), namesOf(topo), test.targets, test.counters)
		}
	}
}

// An account that stays keeps its tally. One that goes stays without keys while calls of it are in flight.
func TestTopology_MergeKeepsTallies(t *testing.T) {
	t.Parallel()
	old := mergeAccounts(nil, accountsNamed("stays", "busy", "idle"))
	old[0].held, old[1].held = 1, 2
	merged := mergeAccounts(old, append(accountsNamed("new"), Account{ID: "stays", Keys: []Key{{"other", 1}}}))
	var got []string
	for _, a := range merged {
		got = append(got, a.ID)
	}
	if want := []string{"new", "stays", "busy"}; !slices.Equal(got, want) {
		t.Fatalf("got accounts %q, want %q", got, want)
	}
	if merged[1].tally != old[0].tally || merged[1].Keys[0].ID != "other" || merged[2].tally != old[1].tally || merged[2].Keys != nil {
		t.Errorf("got %+v and %+v, want the old tallies, the new keys, and no keys of what is gone", merged[1], merged[2])
	}
}

// Excluded accounts are named by their targets in the model group.
func TestTopology_TargetsOfAccountsInAGroup(t *testing.T) {
	t.Parallel()
	some := few(1)
	some.Models = []string{"m"}
	cfg := configOf([]Limit{some}, "a", "b", "c")
	groups := newModelGroups(cfg.Limits, nil)
	group, added := groups.of(cfg.Limits, "m")
	if !added || group != 1 {
		t.Fatalf("got group %d, added: %v, want a new group 1", group, added)
	}
	topo := newTopology(&cfg, mergeAccounts(nil, cfg.Accounts), groups.list, noon)
	if got := topo.targetsOf([]string{"a", "c"}, group); !slices.Equal(got, []int{3, 5}) {
		t.Errorf("got targets %v, want 3 and 5", got)
	}
	if got := topo.targetsOf(nil, group); got != nil {
		t.Errorf("without accounts: got %v, want none", got)
	}
}

// A topology ends with the first daily count.
func TestTopology_EndsWithTheFirstDailyCount(t *testing.T) {
	t.Parallel()
	if got := topologyOf(few(1)).ends; !got.IsZero() {
		t.Errorf("without daily counts: got end %v, want never", got)
	}
	if got, want := topologyOf(daily(1, 0), daily(1, 18*time.Hour)).ends, noon.Add(6*time.Hour); !got.Equal(want) {
		t.Errorf("got end %v, want %v", got, want)
	}
}

// Models that the same limits count are one group, which is added once. Without limits on models there is one group.
func TestModelGroups_ModelsOfTheSameLimitsAreOneGroup(t *testing.T) {
	t.Parallel()
	some := few(1)
	some.Models = []string{"m-*"}
	limits := []Limit{few(1), some}
	g := newModelGroups(limits, nil)
	for _, step := range []struct {
		model string
		index int
		added bool
	}{{"other", 0, false}, {"m-1", 1, true}, {"m-2", 1, false}, {"m-1", 1, false}, {"", 0, false}} {
		if index, added := g.of(limits, step.model); index != step.index || added != step.added {
			t.Errorf("%q: got group %d, added: %v, want %d, %v", step.model, index, added, step.index, step.added)
		}
	}
	if single := newModelGroups(limits[:1], nil); !single.single || len(single.list) != 1 {
		t.Errorf("without models: got %+v, want one group", single)
	}
}

// The groups of a bounded number of models are kept. Others are found all the same.
func TestModelGroups_KeepABoundedNumberOfModels(t *testing.T) {
	t.Parallel()
	some := few(1)
	some.Models = []string{"*x"}
	limits := []Limit{some}
	g := newModelGroups(limits, nil)
	for i := range maxModels + 10 {
		model := string(rune('a'+i%26)) + time.Duration(i).String()
		if index, _ := g.of(limits, model+"x"); index != 1 {
			t.Fatalf("model %d: got group %d, want 1", i, index)
		}
	}
	if n := len(g.byModel); n > maxModels {
		t.Errorf("got %d models kept, want at most %d", n, maxModels)
	}
}
