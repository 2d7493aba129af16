package admission

import "time"

// RecentPeriod is the time for which recent use is added up.
const RecentPeriod = time.Minute

const (
	recentSlot  = 5 * time.Second
	recentSlots = int(RecentPeriod/recentSlot) + 1 // the last one is incomplete
)

// recent is the units that calls of this process used of one counter in the last minute, in slots.
type recent struct {
	units [recentSlots]int64
	last  int64 // number of the latest slot
}

// add counts units, which are negative for a refund.
func (r *recent) add(now time.Time, units int64) {
	r.advance(now)
	r.units[r.last%int64(recentSlots)] += units
}

// advance empties the slots that are over.
func (r *recent) advance(now time.Time) {
	number := now.UnixNano() / int64(recentSlot)
	if number-r.last >= int64(recentSlots) {
		*r = recent{last: number}
	}
	for ; r.last < number; r.last++ {
		r.units[(r.last+1)%int64(recentSlots)] = 0
	}
}

// sum returns the units of the last minute.
func (r *recent) sum(now time.Time) int64 {
	r.advance(now)
	var n int64
	for _, units := range r.units {
		n += units
	}
	part := time.Duration(now.UnixNano() % int64(recentSlot)) // of the first slot that is too old
	oldest := r.units[(r.last+1)%int64(recentSlots)]
	return n - oldest*int64(part)/int64(recentSlot)
}

// Used is what the calls of this process used of a limit in the last minute.
type Used struct {
	Limit        int    // index of the limit
	Account, Key string // empty: not an account's, not a key's own
	Units        int64
}

// used returns the recent use of all counters that have any.
func (t *topology) used(now time.Time) []Used {
	var all []Used
	for i := range t.counters {
		c := &t.counters[i]
		if n := c.recent.sum(now); n != 0 {
			all = append(all, Used{Limit: c.limit, Account: c.account, Key: WithoutFingerprint(c.key), Units: n})
		}
	}
	return all
}

// use counts what n equal calls use of a target's counters.
func (t *topology) use(its *target, limits []Limit, units []int64, n int64, now time.Time) {
	for i, at := range its.counterIndices {
		t.counters[at].recent.add(now, n*units[limits[its.limits[i]].Metric])
	}
}

// keepRecent takes over the recent use of the counters that another topology has, too.
func (t *topology) keepRecent(old *topology) {
	if old == nil {
		return
	}
	for i := range t.counters {
		if c := old.counter(t.counters[i].name); c != nil {
			t.counters[i].recent = c.recent
		}
	}
}
