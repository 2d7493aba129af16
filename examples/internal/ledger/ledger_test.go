package ledger_test

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/examples/internal/ledger"
	"github.com/penstock/penstock/examples/internal/recorder"
)

const (
	ms     = time.Millisecond
	second = time.Second
)

// sound returns a run of 12 s in which nothing broke: ten calls a second, each of 50 ms, and one fault from 4 to 5 s.
func sound() *ledger.Run {
	run := &ledger.Run{
		Limits: []ledger.Limit{
			{Metric: "requests", Units: 10, Period: second}, {Metric: "tokens", Units: 200, Period: second},
		},
		Concurrency: 1,
		Stop:        12 * second,
		Faults:      []ledger.Fault{{Kind: "flush", Begin: 4 * second, End: 5 * second, Recovers: 2 * second}},
	}
	for n := range 120 {
		id := ledger.BulkID("w0", n)
		begin := time.Duration(n) * 100 * ms
		run.Attempts = append(run.Attempts, recorder.Attempt{
			ID: id, Key: "k", Account: "org", Tokens: 20, Begin: begin, End: begin + 50*ms, Status: 200, Whole: true,
		})
		run.Answers = append(run.Answers, ledger.Answer{ID: id, Text: ledger.Text(id)})
	}
	run.Workers = []ledger.Worker{{Name: "w0", Taken: 120}}
	return run
}

// A run in which nothing broke has no defect.
func TestJudge_FindsNothingInSoundRun(t *testing.T) {
	t.Parallel()
	v := ledger.Judge(sound())
	if len(v.Defects) != 0 || v.Calls != 120 || v.Answered != 120 || v.Offered["requests"] != 1 || v.InFlight != 1 {
		t.Errorf("got %+v, want no defect", v)
	}
	if r := v.Recovery["flush"]; r.Count != 1 || r.Worst != 0 {
		t.Errorf("got recovery %+v, want one of 0 s", r)
	}
}

// again returns attempt n of the run once more, so much later and on another account.
func again(run *ledger.Run, n int, later time.Duration) recorder.Attempt {
	a := run.Attempts[n]
	a.Begin += later
	a.End += later
	a.Account = "other"
	return a
}

// Every defect is found in a run with exactly that defect, and no other defect is.
func TestJudge_FindsEachDefect(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		breaks func(*ledger.Run)
		want   string // the beginning of the only defect
	}{
		"lost": {func(r *ledger.Run) { r.Answers = r.Answers[1:] }, "1 calls lost"},
		"failed": {func(r *ledger.Run) {
			r.Answers = r.Answers[1:]
			r.Failures = []ledger.Failure{{ID: ledger.BulkID("w0", 0), Error: "no answer after 3s"}}
		}, "1 calls failed"},
		"written twice":         {func(r *ledger.Run) { r.Answers = append(r.Answers, r.Answers[7]) }, "1 calls written twice"},
		"torn line":             {func(r *ledger.Run) { r.Torn = 1 }, "1 lines torn"},
		"another call's answer": {func(r *ledger.Run) { r.Answers[3].Text = r.Answers[4].Text }, "1 lines torn"},
		"repeated":              {func(r *ledger.Run) { r.Attempts = append(r.Attempts, again(r, 119, 100*ms)) }, "1 calls repeated"},
		"requests over the limit": {func(r *ledger.Run) {
			a := &r.Attempts[60]
			a.Tokens, a.Begin, a.End = 0, a.Begin-45*ms, a.End-45*ms
		}, "requests offered"},
		"tokens over the limit": {func(r *ledger.Run) { r.Attempts[30].Tokens = 21 }, "tokens offered"},
		"in flight":             {func(r *ledger.Run) { r.Attempts[30].End += 60 * ms }, "in flight"},
		"429": {func(r *ledger.Run) {
			a := again(r, 119, 90*ms)
			a.ID, a.Status, a.Whole, a.Reason = "w0-x", 429, false, "requests"
			r.Attempts = append(r.Attempts, a)
		}, "1 429s"},
		"permits":     {func(r *ledger.Run) { r.PermitsLeft = 2 }, "2 permits"},
		"goroutines":  {func(r *ledger.Run) { r.Workers[0].Goroutines = 3 }, "3 goroutines"},
		"memory":      {func(r *ledger.Run) { r.Workers[0].MemoryMB = 33 }, "33 MB"},
		"ended early": {func(r *ledger.Run) { r.Workers[0].Early = "exit status 2" }, "worker w0"},
		"slow recovery": {func(r *ledger.Run) {
			for i := range r.Attempts {
				r.Attempts[i].Whole = r.Attempts[i].Begin < 5*second || r.Attempts[i].Begin > 8*second
			}
		}, "1 slow recoveries after flush"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := sound()
			test.breaks(run)
			v := ledger.Judge(run)
			if len(v.Defects) != 1 || !strings.HasPrefix(v.Defects[0], test.want) {
				t.Errorf("got defects %q, want one that begins with %q", v.Defects, test.want)
			}
		})
	}
}

// What has a reason is no defect.
func TestJudge_AcceptsWhatHasReason(t *testing.T) {
	t.Parallel()
	for name, accept := range map[string]func(*ledger.Run){
		"repeated after the worker was killed": func(r *ledger.Run) {
			r.Workers[0].Kills = []time.Duration{11950 * ms}
			r.Attempts = append(r.Attempts, again(r, 119, 100*ms))
		},
		"repeated after a cut answer": func(r *ledger.Run) {
			r.Attempts = append(r.Attempts, again(r, 119, 100*ms))
			r.Attempts[119].Whole, r.Attempts[119].Broken = false, true
		},
		"429 while another client uses the account": func(r *ledger.Run) {
			r.Faults[0].Throttles = true
			r.Attempts[45].Status, r.Attempts[45].Whole, r.Attempts[45].Reason = 429, false, "requests"
		},
		"429 of a storm": func(r *ledger.Run) {
			r.Attempts[100].Status, r.Attempts[100].Whole, r.Attempts[100].Reason = 429, false, "storm"
		},
		"a failure that a later life made good": func(r *ledger.Run) {
			r.Failures = []ledger.Failure{{ID: ledger.BulkID("w0", 0), Error: "no answer"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := sound()
			accept(run)
			if v := ledger.Judge(run); len(v.Defects) != 0 {
				t.Errorf("got defects %q, want none", v.Defects)
			}
		})
	}
}

// After Redis has lost writes one attempt in a thousand may be throttled, and no more.
func TestJudge_ToleratesShareOf429sAfterLostState(t *testing.T) {
	t.Parallel()
	run := sound()
	run.Faults[0].LosesState = true
	run.Attempts[100].Status, run.Attempts[100].Whole, run.Attempts[100].Reason = 429, false, "concurrency"
	if v := ledger.Judge(run); len(v.Defects) != 1 || v.Throttled["concurrency"] != 1 {
		t.Errorf("got defects %q, want one 429 too many among 120 attempts", v.Defects)
	}
	for n := range 1000 {
		a := run.Attempts[0]
		a.ID, a.Account, a.Begin, a.End, a.Whole = "w9-x", "other", time.Duration(n)*second, time.Duration(n)*second+ms, false
		run.Attempts = append(run.Attempts, a)
	}
	if v := ledger.Judge(run); len(v.Defects) != 0 {
		t.Errorf("got defects %q among 1120 attempts, want none", v.Defects)
	}
}

// Where the next fault comes before throughput is back, the recovery time is unknown.
func TestJudge_LeavesRecoveryUnknownBeforeNextFault(t *testing.T) {
	t.Parallel()
	run := sound()
	run.Faults = append(run.Faults, ledger.Fault{Kind: "cut", Begin: 5500 * ms, End: 6 * second, Recovers: second})
	v := ledger.Judge(run)
	if got := v.Recovery["flush"]; got.Unknown != 1 || got.Count != 0 {
		t.Errorf("got %+v for the first fault, want it unknown", got)
	}
	if got := v.Recovery["cut"]; got.Count != 1 {
		t.Errorf("got %+v for the second fault, want it known", got)
	}
}
