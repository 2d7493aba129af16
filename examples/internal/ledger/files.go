package ledger

import (
	"regexp"
	"strings"
)

// Text is what a call asks, and what its answer must quote.
func Text(id string) string { return "please repeat " + id }

// quotes reports whether an answer is that of a call. The provider changes letters, so the figures count.
func quotes(a Answer) bool {
	_, number, ok := strings.Cut(a.ID, "-")
	return ok && strings.Contains(a.Text, "-"+number)
}

// figures are what differs between two errors of one kind.
var figures = regexp.MustCompile(`chaos-\w+|w\d+-\w+|[0-9a-f]{16,}|\d+(\.\d+)*(ns|µs|ms|s|m)?|0x[0-9a-f]+`)

// judgeFiles counts what the files say of the calls that were begun.
func (v *Verdict) judgeFiles(run *Run) {
	written := map[string]int{}
	for _, a := range run.Answers {
		written[a.ID]++
		if !quotes(a) {
			v.Torn++
		}
	}
	failed := map[string]bool{}
	for _, f := range run.Failures {
		if !failed[f.ID] && written[f.ID] == 0 {
			v.Failed++
			v.Errors[figures.ReplaceAllString(f.Error, "#")]++
		}
		failed[f.ID] = true
	}
	for _, n := range written {
		if n > 1 {
			v.WrittenTwice++
		}
	}
	v.Answered = len(written)
	for _, w := range run.Workers {
		v.Calls += w.Taken
		for n := range w.Taken {
			if id := BulkID(w.Name, n); written[id] == 0 && !failed[id] {
				v.Lost++
			}
		}
	}
}

// judgeRepetitions counts the calls that were sent again although a whole answer had been sent. A reason is that the
// worker was killed in between.
func (v *Verdict) judgeRepetitions(run *Run) {
	kills := map[string][]int64{}
	for _, w := range run.Workers {
		for _, k := range w.Kills {
			kills[w.Name] = append(kills[w.Name], int64(k))
		}
	}
	last := map[string]int{} // the last attempt of each call that had a whole answer
	counted := map[string]bool{}
	for i, a := range run.Attempts {
		if before, answered := last[a.ID]; answered && !counted[a.ID] {
			from, to := int64(run.Attempts[before].Begin), int64(a.Begin)
			if !anyBetween(kills[owner(a.ID)], from, to) {
				v.Doubled++
				counted[a.ID] = true
			}
		}
		if a.Whole {
			last[a.ID] = i
		}
	}
}

func anyBetween(times []int64, from, to int64) bool {
	for _, t := range times {
		if t >= from && t <= to {
			return true
		}
	}
	return false
}

// judgeWorkers takes the worst of the workers.
func (v *Verdict) judgeWorkers(run *Run) {
	for _, w := range run.Workers {
		v.Goroutines = max(v.Goroutines, w.Goroutines)
		v.MemoryMB = max(v.MemoryMB, w.MemoryMB)
		if w.Early != "" {
			v.EndedEarly++
		}
	}
}
