package caller

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

// news is what this process has learned and Redis doesn't know yet. It belongs to the pool's lock.
type news struct {
	list    []item
	settled map[string]int64 // units by counter, actual less estimated
	since   time.Time        // of the oldest
	urgent  bool             // something is to be told at once
}

// item is one report. What counts is told of blocks until a time, of counters by their names: both outlast a layout.
type item struct {
	scripts.PoolReport
	counter string
	until   time.Time
	heard   chan struct{} // closed when Redis has heard; nil: nobody waits for that
}

func (n *news) empty() bool { return len(n.list)+len(n.settled) == 0 }

func (n *news) settle(counter string, units int64) {
	if n.settled == nil {
		n.settled = map[string]int64{}
	}
	n.begin()
	n.settled[counter] += units
}

func (n *news) mention(items []item) {
	n.begin()
	n.list = append(n.list, items...)
}

func (n *news) begin() {
	if n.empty() {
		n.since = time.Now()
	}
}

// heard tells those who wait for it that Redis has heard.
func (n *news) heard() {
	for _, i := range n.list {
		if i.heard != nil {
			close(i.heard)
		}
	}
}

// reports returns the news as the script wants them.
func (n *news) reports(l *layout, now time.Time) []scripts.PoolReport {
	var out []scripts.PoolReport
	for _, i := range n.list {
		r := i.PoolReport
		if i.counter != "" {
			at, ok := l.byName[i.counter]
			if !ok {
				continue // its account is gone
			}
			r.Counter = at
		}
		if !i.until.IsZero() {
			r.For = i.until.Sub(now)
		}
		out = append(out, r)
	}
	for name, units := range n.settled {
		if at, ok := l.byName[name]; ok && units != 0 {
			out = append(out, scripts.PoolReport{Kind: scripts.SettleCounter, Counter: at, Units: units})
		}
	}
	return out
}

// take returns the news and forgets them: they are about to be told.
func (n *news) take() news {
	told := *n
	*n = news{}
	return told
}

// again takes back what Redis may not have heard. What may have been heard is told again where twice does no harm: a
// block, a debt, but not a refund.
func (n *news) again(told news, outcome scripts.Outcome) {
	n.begin()
	n.list = append(told.list, n.list...)
	n.urgent = n.urgent || told.urgent
	for counter, units := range told.settled {
		if units > 0 || outcome == scripts.NotRun {
			n.settle(counter, units)
		}
	}
}
