package ledger

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/penstock/penstock/examples/internal/recorder"
)

// Recovery is how long the run took, after faults of one kind had ended, until its throughput was back.
type Recovery struct {
	Count   int     `json:"count"`   // faults that it is known of
	Unknown int     `json:"unknown"` // faults after which another one came too soon
	Median  float64 `json:"median_s"`
	Worst   float64 `json:"worst_s"`
	Slow    int     `json:"slow"` // that took longer than their bound
	Bound   float64 `json:"bound_s"`

	all []float64
}

const (
	// throughputWindow is the time over which throughput is counted.
	throughputWindow = time.Second
	// baseline is the time before a fault that says what throughput was.
	baseline = 3 * time.Second
	// recovered is the share of the throughput before that counts as recovered.
	recovered = 0.9
	// recoveryStep is the precision of a recovery time.
	recoveryStep = 50 * time.Millisecond
)

// episode is a time in which faults followed each other without a pause.
type episode struct {
	begin, end time.Duration
	faults     []Fault
}

// episodes joins faults that overlap.
func episodes(faults []Fault) []episode {
	var all []episode
	for _, f := range faults {
		if n := len(all); n > 0 && f.Begin <= all[n-1].end {
			all[n-1].end = max(all[n-1].end, f.End)
			all[n-1].faults = append(all[n-1].faults, f)
			continue
		}
		all = append(all, episode{f.Begin, f.End, []Fault{f}})
	}
	return all
}

// judgeRecovery finds the recovery time of every episode.
func (v *Verdict) judgeRecovery(run *Run) {
	ends := answeredAt(run.Attempts)
	all := episodes(run.Faults)
	for i, e := range all {
		until := run.Stop
		if i+1 < len(all) {
			until = all[i+1].begin
		}
		took, known := recoveryTime(ends, e, until)
		for _, f := range e.faults {
			r := v.Recovery[f.Kind]
			r.Bound = f.Recovers.Seconds()
			switch {
			case known:
				r.Count++
				r.all = append(r.all, took.Seconds())
			case f.Recovers > 0 && until-e.end >= f.Recovers+throughputWindow: // it had its time
				r.Count++
				r.all = append(r.all, (until - e.end).Seconds())
				took = until - e.end
			default:
				r.Unknown++
			}
			if f.Recovers > 0 && took > f.Recovers {
				r.Slow++
			}
			v.Recovery[f.Kind] = r
		}
	}
	for kind, r := range v.Recovery {
		slices.Sort(r.all)
		if n := len(r.all); n > 0 {
			r.Median, r.Worst = r.all[n/2], r.all[n-1]
		}
		v.Recovery[kind] = r
	}
}

// answeredAt returns when whole answers were sent, in order.
func answeredAt(attempts []recorder.Attempt) []time.Duration {
	var ends []time.Duration
	for _, a := range attempts {
		if a.Whole {
			ends = append(ends, a.End)
		}
	}
	slices.Sort(ends)
	return ends
}

// recoveryTime returns the time from an episode's end until throughput is back; false if it isn't before until.
func recoveryTime(ends []time.Duration, e episode, until time.Duration) (time.Duration, bool) {
	span := min(baseline, e.begin)
	if span <= 0 {
		return 0, false
	}
	want := recovered * float64(count(ends, e.begin-span, e.begin)) * float64(throughputWindow) / float64(span)
	for t := e.end; t+throughputWindow <= until; t += recoveryStep {
		if float64(count(ends, t, t+throughputWindow)) >= want {
			return t - e.end, true
		}
	}
	return 0, false
}

// count returns how many of the sorted times are within (from, to].
func count(sorted []time.Duration, from, to time.Duration) int {
	first, _ := slices.BinarySearch(sorted, from+1)
	last, _ := slices.BinarySearch(sorted, to+1)
	return last - first
}

// listRecovery lists the kinds after which recovery was slow.
func (v *Verdict) listRecovery() {
	for _, kind := range slices.Sorted(maps.Keys(v.Recovery)) {
		if r := v.Recovery[kind]; r.Slow > 0 {
			v.Defects = append(v.Defects, fmt.Sprintf("%d slow recoveries after %s: %.1f s at worst, at most %.1f s is wanted",
				r.Slow, kind, r.Worst, r.Bound))
		}
	}
}
