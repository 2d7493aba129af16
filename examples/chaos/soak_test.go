package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/examples/internal/ledger"
	"github.com/penstock/penstock/internal/redistest"
)

// A soak of a few seconds, with every failure of the provider and two deaths of Redis, loses no call.
func TestSoak_LosesNothing(t *testing.T) {
	redistest.Start(t) // skips the test without redis-server
	var out, table bytes.Buffer
	if code := command([]string{"-soak", "10s", "-workers", "2", "-callers", "12"}, &out, &table); code == exitNotRun {
		t.Fatalf("got exit code %d, want a run:\n%s", code, &table)
	}
	got := result{Verdict: &ledger.Verdict{}}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Soak == nil {
		t.Fatalf("got error %v, want a line of JSON of a soak:\n%s", err, &out)
	}
	if got.Faults["redis-crash"] != 2 || got.Answered < 50 || got.Soak.FailuresMet == 0 || got.Soak.HeapMB[1] <= 0 || got.Soak.Goroutines[1] <= 0 {
		t.Errorf("got %s, want two deaths of Redis, answers, failures and samples", &out)
	}
	if got.Lost+got.Failed+got.WrittenTwice+got.Torn+got.EndedEarly+got.PermitsLeft > 0 {
		t.Errorf("got defects %q, want no call lost or failed, and no permit left:\n%s", got.Defects, &table)
	}
}

// A soak is a run of its own on a single Redis, with a death of Redis after each third but the last.
func TestParse_SoakIsOneRun(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"-soak", "30m"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	plans := o.plans()
	if len(plans) != 1 || plans[0].duration != 30*time.Minute || len(plans[0].faults) != 2 || plans[0].faults[1].at != 20*time.Minute {
		t.Errorf("got %+v, want one run of 30 minutes with deaths after 10 and 20", plans)
	}
	for _, test := range []struct{ args, want string }{
		{"-soak 1s", "use at least 10s"}, {"-soak 30m -all", "a run of its own"}, {"-soak 30m -servers cluster", "a run of its own"},
	} {
		if _, err := parse(strings.Fields(test.args), io.Discard); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want one with %q", test.args, err, test.want)
		}
	}
}

// Memory and goroutines that grow are a defect of a soak, and noise isn't.
func TestJudgeGrowth_FindsGrowth(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what string
		heap func(n int) float64
		want int
	}{
		{"flat", func(n int) float64 { return 10 + float64(n%3) }, 0},
		{"growing", func(n int) float64 { return 10 + float64(n)/2 }, 2},
	} {
		w := &worker{}
		for n := range 60 {
			w.samples = append(w.samples, sample{Goroutines: int(10 * test.heap(n)), HeapMB: test.heap(n)})
		}
		r := &result{Soak: &soak{}, Verdict: &ledger.Verdict{}}
		(&driver{fleet: &fleet{workers: []*worker{w}}}).judgeGrowth(r, w)
		if len(r.Defects) != test.want || r.Soak.HeapMB[0] == 0 {
			t.Errorf("%s: got defects %q and %v MB, want %d defects", test.what, r.Defects, r.Soak.HeapMB, test.want)
		}
	}
}
