package caller

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

// memory is what this process knows of the pool's state, so that it can put it back where Redis has lost it: a flush, a
// restart without its data, a failover to a replica that lagged. It belongs to the pool's lock.
//
// It knows what this process itself did. Another process puts back what that did; until it has, the fleet may be admitted
// what only that one knew of.
type memory struct {
	mark   scripts.StateVersion // of the state that the last answer came from
	blocks map[string]item      // by name: told by this process, and not over
	booked map[string]time.Time // by counter: theoretical arrival time by what this process was admitted alone
	used   map[string]dayUse    // by counter: of a daily count
	until  time.Time            // when the last of it is over
}

// dayUse is what this process used of a daily count.
type dayUse struct {
	ends  time.Time
	units int64
}

// known returns the state that Redis must still have; zero if this process could restore nothing and holds no permit.
func (m *memory) known(now time.Time, holds bool) scripts.StateVersion {
	if holds || m.until.After(now) {
		return m.mark
	}
	return scripts.StateVersion{}
}

func (m *memory) lasts(until time.Time) {
	if until.After(m.until) {
		m.until = until
	}
}

// told remembers what Redis has heard.
func (m *memory) told(items []item) {
	for _, i := range items {
		switch i.Kind {
		case scripts.CoolBlock, scripts.DisableBlock:
			if m.blocks == nil {
				m.blocks = map[string]item{}
			}
			if old, ok := m.blocks[i.Block]; ok && (i.Kind < old.Kind || i.Kind == old.Kind && i.until.Before(old.until)) {
				continue // cooling down is less than disabled
			}
			i.heard = nil
			m.blocks[i.Block] = i
			m.lasts(i.until)
		case scripts.ClearBlock:
			delete(m.blocks, i.Block)
		}
	}
}

// admitted remembers that n calls of a cost were admitted at a slot.
func (m *memory) admitted(p *plan, l *lane, slot time.Time, n int64, cost []int64) {
	if m.booked == nil {
		m.booked, m.used = map[string]time.Time{}, map[string]dayUse{}
	}
	for i, limit := range l.limits {
		name, units := l.counters[i], n*cost[p.index[limit]]
		if units == 0 {
			continue
		}
		if its := &p.Limits[limit]; its.Algorithm == Daily {
			use := m.used[name]
			if !slot.Before(use.ends) {
				use = dayUse{ends: its.nextReset(slot)}
			}
			use.units += units
			m.used[name] = use
			m.lasts(use.ends)
			continue
		}
		tat := m.booked[name]
		if tat.Before(slot) {
			tat = slot
		}
		tat = tat.Add(time.Duration(p.paces[limit].interval * float64(units) * float64(time.Second)))
		m.booked[name] = tat
		m.lasts(tat)
	}
}

// settled corrects what is known of a daily count.
func (m *memory) settled(counter string, units int64) {
	if use, ok := m.used[counter]; ok {
		use.units = max(0, use.units+units)
		m.used[counter] = use
	}
}

// restore returns what Redis is to be told again, of which it has lost all or the latest.
func (m *memory) restore(all bool, now time.Time) []item {
	m.mark = scripts.StateVersion{}
	var items []item
	for name, block := range m.blocks {
		if !block.until.After(now) {
			delete(m.blocks, name)
			continue
		}
		items = append(items, block)
	}
	for name, tat := range m.booked {
		if !tat.After(now) {
			delete(m.booked, name)
			continue
		}
		items = append(items, item{counter: name, until: tat, PoolReport: scripts.PoolReport{Kind: scripts.BookCounter}})
	}
	for name, use := range m.used {
		if !use.ends.After(now) {
			delete(m.used, name)
			continue
		}
		kind := scripts.UsedCounter // others' use may be there still
		if all {
			kind = scripts.SettleCounter
		}
		items = append(items, item{counter: name, PoolReport: scripts.PoolReport{Kind: kind, Units: use.units}})
	}
	return items
}
