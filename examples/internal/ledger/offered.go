package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/penstock/penstock/examples/internal/recorder"
)

// judgeOffered finds the fullest window and the most calls in flight of every account, refused attempts included.
func (v *Verdict) judgeOffered(run *Run) {
	accounts := map[string][]recorder.Attempt{}
	for _, a := range run.Attempts {
		accounts[a.Account] = append(accounts[a.Account], a)
	}
	for _, attempts := range accounts {
		for _, limit := range run.Limits {
			share := float64(fullest(attempts, limit)) / float64(limit.Units)
			v.Offered[limit.Metric] = max(v.Offered[limit.Metric], share)
		}
		if run.Concurrency > 0 {
			v.InFlight = max(v.InFlight, float64(mostInFlight(attempts))/float64(run.Concurrency))
		}
	}
}

// fullest returns the most units that arrived within any window (t-Period, t].
func fullest(attempts []recorder.Attempt, limit Limit) int64 {
	units := func(a recorder.Attempt) int64 {
		if limit.Metric == "tokens" {
			return a.Tokens
		}
		return 1
	}
	var sum, most int64
	first := 0
	for _, a := range attempts {
		sum += units(a)
		for ; a.Begin-attempts[first].Begin >= limit.Period; first++ {
			sum -= units(attempts[first])
		}
		most = max(most, sum)
	}
	return most
}

// mostInFlight returns the most attempts in flight at any time. An attempt without an end counts until the run's end.
func mostInFlight(attempts []recorder.Attempt) int {
	type change struct {
		at time.Duration
		by int
	}
	var changes []change
	for _, a := range attempts {
		changes = append(changes, change{a.Begin, 1})
		if a.End > 0 {
			changes = append(changes, change{a.End, -1})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.by, b.by)) })
	n, most := 0, 0
	for _, c := range changes {
		n += c.by
		most = max(most, n)
	}
	return most
}

// judgeThrottled counts the 429s that have no excuse.
func (v *Verdict) judgeThrottled(run *Run) {
	for _, a := range run.Attempts {
		switch {
		case a.Reason == "":
		case a.Reason == "storm", a.Reason == "busy", a.Reason == "insufficient_quota", excused(run.Faults, a):
			v.Tolerated++
		default:
			v.Throttled[a.Reason]++
		}
	}
}

// excused reports whether a fault lets another client use the limits at that time.
func excused(faults []Fault, a recorder.Attempt) bool {
	return slices.ContainsFunc(faults, func(f Fault) bool {
		return f.Throttles && a.Begin >= f.Begin && a.Begin <= f.End+ThrottleTail
	})
}

// throttledAllowed is how many 429s without an excuse are no defect.
func (v *Verdict) throttledAllowed(run *Run) int {
	if slices.ContainsFunc(run.Faults, func(f Fault) bool { return f.LosesState }) {
		return int(LostStateShare * float64(v.Attempts))
	}
	return 0
}
