// Package ledger judges a run under faults: from what stood in front of the provider, from the files that the workers
// wrote, and from how the workers ended.
//
//	v := ledger.Judge(&run)
//	for _, d := range v.Defects { ... }
//
// It starts nothing and reads no clock. Times count from the run's origin.
package ledger

import (
	"fmt"
	"strings"
	"time"

	"github.com/penstock/penstock/examples/internal/recorder"
)

// Run is all that is known of a run.
type Run struct {
	Limits      []Limit            // of each account
	Concurrency int                // calls in flight of each account
	Attempts    []recorder.Attempt // in the order of arrival
	Workers     []Worker
	Answers     []Answer  // lines of the output files
	Torn        int       // lines of the output files that are no whole answer
	Failures    []Failure // calls that ended with an error
	Faults      []Fault   // in the order of their beginning
	Stop        time.Duration
	PermitsLeft int // permits that the pool still counts at the end
}

// Limit is what an account may be offered within any window.
type Limit struct {
	Metric string // requests or tokens
	Units  int64
	Period time.Duration
}

// Worker is how one worker process ended.
type Worker struct {
	Name       string
	Taken      int             // bulk calls begun, over all its lives; their IDs are BulkID(Name, 0 to Taken-1)
	Goroutines int             // at the end beyond those at the beginning
	MemoryMB   float64         // heap in use at the end
	Early      string          // why it ended before it was stopped, or did not end well; empty: it ended well
	Kills      []time.Duration // when the run killed it
}

// Answer is one line of an output file.
type Answer struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// Failure is a call that ended with an error.
type Failure struct {
	ID    string `json:"id"`
	Error string `json:"error"`
}

// Fault is one fault that happened.
type Fault struct {
	Kind       string
	Begin, End time.Duration
	// LosesState: Redis lost what it had acknowledged. 429s of up to LostStateShare of the calls are tolerated.
	LosesState bool
	// Throttles: 429s from Begin to ThrottleTail after End are no defect.
	Throttles bool
	// Recovers bounds the time from End until throughput is back. 0: not judged.
	Recovers time.Duration
}

// BulkID names the n-th bulk call of a worker. UrgentID names an interactive one.
func BulkID(worker string, n int) string { return fmt.Sprintf("%s-%06d", worker, n) }

// UrgentID names the n-th interactive call of one life of a worker.
func UrgentID(worker string, life, n int) string { return fmt.Sprintf("%s-i%d-%06d", worker, life, n) }

func owner(id string) string {
	name, _, _ := strings.Cut(id, "-")
	return name
}

const (
	// LostStateShare is the share of 429s among the attempts that is tolerated after Redis has lost writes.
	LostStateShare = 0.001
	// ThrottleTail is the time for which the pool may still adapt after another client has left.
	ThrottleTail = 2 * time.Second
	// MaxMemoryMB bounds a worker's heap at the end.
	MaxMemoryMB = 32
	// MaxGoroutines bounds the goroutines that a worker leaves.
	MaxGoroutines = 2
)

// Verdict is the judgement. Its JSON is part of the line that the program prints.
type Verdict struct {
	Calls        int                 `json:"calls"` // bulk calls begun
	Answered     int                 `json:"answered"`
	Attempts     int                 `json:"attempts"`
	Failed       int                 `json:"failed"`
	Errors       map[string]int      `json:"errors,omitempty"` // of failed calls, by text without figures
	Lost         int                 `json:"lost"`
	WrittenTwice int                 `json:"written_twice"`
	Torn         int                 `json:"torn"`
	Doubled      int                 `json:"doubled"`       // calls repeated after a whole answer, without a reason
	Offered      map[string]float64  `json:"offered"`       // most in any window, as a share of the limit
	InFlight     float64             `json:"in_flight"`     // most at any time, as a share of the concurrency
	Throttled    map[string]int      `json:"throttled"`     // 429s by reason, without tolerated ones
	Tolerated    int                 `json:"tolerated_429"` // of a storm, an injected failure, another client, or a lack of credit
	PermitsLeft  int                 `json:"permits_left"`
	Goroutines   int                 `json:"goroutines_left"` // of the worst worker
	MemoryMB     float64             `json:"memory_mb"`       // of the worst worker
	EndedEarly   int                 `json:"ended_early"`
	Recovery     map[string]Recovery `json:"recovery"` // by kind of fault
	Defects      []string            `json:"defects"`
}

// Judge judges a run.
func Judge(run *Run) *Verdict {
	v := &Verdict{
		Offered: map[string]float64{}, Throttled: map[string]int{}, Errors: map[string]int{}, Recovery: map[string]Recovery{},
		Attempts: len(run.Attempts), Torn: run.Torn, PermitsLeft: run.PermitsLeft, Defects: []string{},
	}
	v.judgeFiles(run)
	v.judgeRepetitions(run)
	v.judgeOffered(run)
	v.judgeThrottled(run)
	v.judgeWorkers(run)
	v.judgeRecovery(run)
	v.list(run)
	return v
}

// defect adds a line to the defects if there are any.
func (v *Verdict) defect(n int, what string) {
	if n > 0 {
		v.Defects = append(v.Defects, fmt.Sprintf("%d %s", n, what))
	}
}

// list lists what broke.
func (v *Verdict) list(run *Run) {
	v.defect(v.Lost, "calls lost: begun, and in no file")
	v.defect(v.WrittenTwice, "calls written twice")
	v.defect(v.Torn, "lines torn, or with the answer of another call")
	v.defect(v.Failed, "calls failed")
	v.defect(v.Doubled, "calls repeated after a whole answer, without a reason")
	for _, limit := range run.Limits {
		if share := v.Offered[limit.Metric]; share > 1 {
			v.Defects = append(v.Defects, fmt.Sprintf("%s offered: %.2f of the limit in one window", limit.Metric, share))
		}
	}
	if v.InFlight > 1 {
		v.Defects = append(v.Defects, fmt.Sprintf("in flight: %.2f of the concurrency", v.InFlight))
	}
	if n, allowed := total(v.Throttled), v.throttledAllowed(run); n > allowed {
		v.Defects = append(v.Defects, fmt.Sprintf("%d 429s, tolerated are %d", n, allowed))
	}
	v.defect(v.PermitsLeft, "permits still taken at the end")
	if v.Goroutines > MaxGoroutines {
		v.defect(v.Goroutines, "goroutines left by a worker")
	}
	if v.MemoryMB > MaxMemoryMB {
		v.Defects = append(v.Defects, fmt.Sprintf("%.0f MB in use at the end of a worker", v.MemoryMB))
	}
	for _, w := range run.Workers {
		if w.Early != "" {
			v.Defects = append(v.Defects, fmt.Sprintf("worker %s: %s", w.Name, w.Early))
		}
	}
	v.listRecovery()
}

func total(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}
