package admission

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

// recovery is what this process restores if Redis has lost writes: after a flush, a restart without data, or a failover
// to a replica that lagged.
//
// A process restores only its own part. Until every process has called, calls can exceed a limit by what the missing
// processes had used.
type recovery struct {
	version   scripts.StateVersion // of the state that the last reply came from
	blocks    map[string]report    // by name: reported by this process, and not over
	booked    map[string]time.Time // by counter: theoretical arrival time by this process's calls alone
	used      map[string]dailyUse  // by counter: of a daily count
	keepUntil time.Time            // when the last of these is over
}

// dailyUse is what this process used of a daily count.
type dailyUse struct {
	ends  time.Time
	units int64
}

// expectedVersion returns the version that the state in Redis must not be older than; zero if there is nothing to restore
// and the process holds no permits. After a loss, Redis grants no permits until the sessions have reported theirs.
func (r *recovery) expectedVersion(now time.Time, holds bool) scripts.StateVersion {
	if holds || r.keepUntil.After(now) {
		return r.version
	}
	return scripts.StateVersion{}
}

func (r *recovery) keep(until time.Time) {
	if until.After(r.keepUntil) {
		r.keepUntil = until
	}
}

// recordReports records the blocks among reports that Redis has confirmed.
func (r *recovery) recordReports(reports []report) {
	for _, its := range reports {
		switch its.Kind {
		case scripts.CoolBlock, scripts.DisableBlock:
			if r.blocks == nil {
				r.blocks = map[string]report{}
			}
			if old, ok := r.blocks[its.Block]; ok && (its.Kind < old.Kind || its.Kind == old.Kind && its.until.Before(old.until)) {
				continue // a cooldown is less than a disabled key
			}
			its.confirmed, its.rejected = nil, nil
			r.blocks[its.Block] = its
			r.keep(its.until)
		case scripts.ClearBlock:
			delete(r.blocks, its.Block)
		}
	}
}

// recordGrants records that n calls with these units were booked on a target at a send time.
func (r *recovery) recordGrants(limits []Limit, t *target, sendAt time.Time, n int64, units []int64) {
	if r.booked == nil {
		r.booked, r.used = map[string]time.Time{}, map[string]dailyUse{}
	}
	for i, at := range t.limits {
		limit := &limits[at]
		name, charged := t.counters[i], n*units[limit.Metric]
		if charged == 0 {
			continue
		}
		if limit.daily() {
			use := r.used[name]
			if !sendAt.Before(use.ends) {
				use = dailyUse{ends: limit.NextReset(sendAt)}
			}
			use.units += charged
			r.used[name] = use
			r.keep(use.ends)
			continue
		}
		tat := r.booked[name]
		if tat.Before(sendAt) {
			tat = sendAt
		}
		tat = tat.Add(time.Duration(limit.Interval * float64(charged) * float64(time.Second)))
		r.booked[name] = tat
		r.keep(tat)
	}
}

// recordSettlement corrects what is known of a daily count.
func (r *recovery) recordSettlement(counter string, units int64) {
	if use, ok := r.used[counter]; ok {
		use.units = max(0, use.units+units)
		r.used[counter] = use
	}
}

// restore returns the reports that restore this process's part. all says that Redis has lost all of the state; otherwise
// it has lost the latest writes, and what other processes used of a daily count may still be there.
func (r *recovery) restore(all bool, now time.Time) []report {
	r.version = scripts.StateVersion{}
	var reports []report
	for name, block := range r.blocks {
		if !block.until.After(now) {
			delete(r.blocks, name)
			continue
		}
		reports = append(reports, block)
	}
	for name, tat := range r.booked {
		if !tat.After(now) {
			delete(r.booked, name)
			continue
		}
		reports = append(reports, report{counter: name, until: tat, PoolReport: scripts.PoolReport{Kind: scripts.BookCounter}})
	}
	for name, use := range r.used {
		if !use.ends.After(now) {
			delete(r.used, name)
			continue
		}
		kind := scripts.UsedCounter
		if all {
			kind = scripts.SettleCounter
		}
		reports = append(reports, report{counter: name, PoolReport: scripts.PoolReport{Kind: kind, Units: use.units}})
	}
	return reports
}
