package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/examples/internal/ledger"
	"github.com/penstock/penstock/internal/redistest"
)

// TestMain runs the child processes that the driver starts of this binary, or the tests.
func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" {
		main()
		return
	}
	redistest.Main(m)
}

// figuresOf returns what a schedule consists of. Kinds have functions, which can't be compared.
func figuresOf(all []planned) (out []any) {
	for _, p := range all {
		out = append(out, p.kind.name, p.at, p.last, p.pick)
	}
	return out
}

// A seed decides the schedule, and two seeds have different ones.
func TestSchedule_FollowsFromSeed(t *testing.T) {
	t.Parallel()
	schedule := func(seed uint64) []any { return figuresOf(mixed(kinds, seed, time.Minute, &defaultLoad)) }
	if got, want := schedule(7), schedule(7); len(got) == 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want the schedule of the same seed: %v", got, want)
	}
	if got := schedule(8); reflect.DeepEqual(got, schedule(7)) {
		t.Errorf("got the schedule of seed 7 for seed 8: %v", got)
	}
}

// In a mixed schedule nothing has two faults at once, and not too many happen at once.
func TestSchedule_KeepsFaultsOfOneSubjectApart(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		all := mixed(kinds, seed, time.Minute, &defaultLoad)
		if len(all) < 5 {
			t.Fatalf("seed %d: got %d faults in a minute, want at least 5", seed, len(all))
		}
		for i, p := range all {
			atOnce := 1
			for _, before := range all[:i] {
				if p.at > before.at+before.last {
					continue
				}
				if atOnce++; before.kind.subject == p.kind.subject {
					t.Errorf("seed %d: got %s at %v during %s, want one after the other", seed, p.kind.name, p.at, before.kind.name)
				}
			}
			if atOnce > mostAtOnce {
				t.Errorf("seed %d: got %d faults at %v, want at most %d", seed, atOnce, p.at, mostAtOnce)
			}
			if end := p.at + p.last; end > time.Minute-calmAtEnd {
				t.Errorf("seed %d: got the end of a fault at %v, want calm at the end of the run", seed, end)
			}
		}
	}
}

// A kind alone happens at least once in the shortest run, and has time to recover between two faults.
func TestSchedule_LeavesKindTimeToRecover(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		if got := len(alone(k, 1, 6*time.Second, &defaultLoad)); got < 1 {
			t.Errorf("%s: got %d faults in 6 s, want at least 1", k.name, got)
		}
		all := alone(k, 1, 2*time.Minute, &defaultLoad)
		for i, p := range all[1:] {
			if calm := p.at - all[i].at - all[i].last; calm < max(k.recovers, quick)+time.Second {
				t.Errorf("%s: got %v between two faults, want at least its bound of recovery and a second", k.name, calm)
			}
		}
	}
}

// Every kind is complete, and has a name of its own.
func TestKinds_AreComplete(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range kinds {
		if seen[k.name] || k.what == "" || k.subject == "" || k.begin == nil || (k.end == nil) != (k.most == 0) {
			t.Errorf("got %+v, want a name of its own, a subject, a beginning, and an end if it lasts", k)
		}
		seen[k.name] = true
	}
}

// A wrong flag is refused with what to do.
func TestParse_SaysWhatToDo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"-kind flood", "use \"all\" or some of redis-stop"},
		{"-all -kind oom", "use one of them"},
		{"-kind oom -servers cluster", "use -servers single"},
		{"-duration 1s", "use at least 6s"},
		{"-workers 0", "use 1 to 16"},
		{"-callers 0", "use 1 to 1000"},
		{"-accounts 1", "use 2 to 20"},
		{"-ttl 10ms", "use at least 1s"},
		{"-latency 10s", "use 10ms to 2.4s"},
		{"-servers many", "use single, sentinel or cluster"},
		{"-redis-server /no/such/file", "give the path of a redis-server"},
		{"-frequency 3", "-h lists the flags"},
		{"flushall", "use flags only"},
	} {
		if _, err := parse(strings.Fields(test.args), io.Discard); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want one with %q", test.args, err, test.want)
		}
	}
}

// -h lists every flag and every kind.
func TestParse_HelpListsKinds(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if _, err := parse([]string{"-h"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("got error %v, want flag.ErrHelp", err)
	}
	for _, want := range append(kindNames(), "-seed", "-servers", "-redis-server", "Exit code") {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got help without %q:\n%s", want, &out)
		}
	}
}

// A run of a few seconds over real processes ends with one line of JSON, and nothing is lost, written twice or torn.
func TestCommand_RunsOverRealProcesses(t *testing.T) {
	redistest.Start(t) // skips the test without redis-server
	var out, table bytes.Buffer
	code := command([]string{"-kind", "link-cut", "-duration", "6s", "-workers", "2", "-callers", "8"}, &out, &table)
	if code == exitNotRun {
		t.Fatalf("got exit code %d, want a run:\n%s", code, &table)
	}
	var got struct {
		Faults map[string]int
		ledger.Verdict
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
		t.Fatalf("got error %v, want one line of JSON:\n%s", err, &out)
	}
	if got.Faults["link-cut"] < 1 || got.Answered < 50 || got.Calls != got.Answered+got.Failed {
		t.Errorf("got %+v, want a fault, and many calls that are all answered", got)
	}
	if got.Lost+got.WrittenTwice+got.Torn+got.EndedEarly+got.PermitsLeft+got.Failed > 0 {
		t.Errorf("got defects %q, want none lost, written twice, torn or failed:\n%s", got.Defects, &table)
	}
	if (code == exitSound) != (len(got.Defects) == 0) {
		t.Errorf("got exit code %d with defects %q, want 0 only without", code, got.Defects)
	}
}

// -all makes a run of every kind, and then mixed ones of twice the duration, each with a seed of its own.
func TestParse_AllHasEveryKindAndSeeds(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"-all", "-seed", "3", "-duration", "10s"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	chosen, _ := o.kinds()
	plans := o.plans()
	if len(plans) != len(chosen)+mixedRuns || plans[0].name != chosen[0].name || plans[0].duration != 10*time.Second {
		t.Fatalf("got %d runs, first %s of %v, want %d, first %s of 10s", len(plans), plans[0].name, plans[0].duration,
			len(chosen)+mixedRuns, chosen[0].name)
	}
	for i, p := range plans[len(chosen):] {
		if p.seed != uint64(3+i) || p.duration != 20*time.Second || len(p.faults) == 0 {
			t.Errorf("got a mixed run of %v with seed %d and %d faults, want 20s with seed %d and some", p.duration, p.seed, len(p.faults), 3+i)
		}
	}
}

// The table of -all is Markdown: a heading, a rule, and a row for each run.
func TestWrite_MarkdownHasARowForEachRun(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	run := func(name string) *result { return &result{Run: name, Verdict: &ledger.Verdict{}} }
	write(&out, []*result{run("oom"), run("storm")}, true)
	lines := strings.Split(out.String(), "\n")
	if len(lines) < 4 || !strings.HasPrefix(lines[0], "| run | ") || strings.Count(lines[0], "|") != strings.Count(lines[1], "|") ||
		!strings.HasPrefix(lines[2], "| oom | ") || !strings.HasPrefix(lines[3], "| storm | ") {
		t.Errorf("got\n%s, want a heading, a rule, and rows for oom and storm", &out)
	}
}

// Six kinds of fault break nothing that doesn't depend on the machine's speed: no call is lost, failed, written twice or torn,
// no limit is exceeded, no permit is left, and no worker ends early.
func TestKinds_BreakNothing(t *testing.T) {
	if testing.Short() || os.Getenv("CI") == "" && os.Getenv("PENSTOCK_SLOW") == "" {
		t.Skip("set PENSTOCK_SLOW=1 to run six kinds of fault of 10 s")
	}
	redistest.Start(t)
	var out, table bytes.Buffer
	const six = "redis-stop,redis-crash,flushall,client-kill,link-cut,worker-kill"
	if code := command([]string{"-kind", six, "-duration", "10s"}, &out, &table); code == exitNotRun {
		t.Fatalf("got exit code %d, want six runs:\n%s", code, &table)
	}
	runs := json.NewDecoder(&out)
	for range strings.Count(six, ",") + 1 {
		got := result{Verdict: &ledger.Verdict{}}
		if err := runs.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if got.Lost+got.WrittenTwice+got.Torn+got.Doubled+got.Failed+got.PermitsLeft+got.EndedEarly > 0 || got.InFlight > 1 {
			t.Errorf("%s: got defects %q, want none:\n%s", got.Run, got.Defects, &table)
		}
	}
}
