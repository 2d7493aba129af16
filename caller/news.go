package caller

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

// news is what this process has learned and Redis doesn't know yet. It belongs to the pool's lock.
type news struct {
	list    []item
	settled map[string]int64 // units by counter, actual less estimated
	doubt   *doubt           // what a lost call settled; until that is cleared up, settled waits
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

// doubt is what one script call settles. While it isn't known whether that call ran, every later one tells it again,
// and the script leaves it out if it did.
type doubt struct {
	settled map[string]int64
	seq     int64     // of the first call that told it
	at      time.Time // when that was made
}

func (n *news) empty() bool { return len(n.list)+len(n.settled) == 0 && n.doubt == nil }

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

// take returns what the call seq is about to tell, and forgets it.
func (n *news) take(seq int64, now time.Time) news {
	told := *n
	*n = news{}
	switch {
	case told.doubt != nil:
		n.settled, n.since = told.settled, told.since
	case len(told.settled) > 0:
		told.doubt = &doubt{told.settled, seq, now}
	}
	told.settled = nil
	return told
}

// reports returns the news that were taken as the script wants them. memory is for how long Redis remembers which call
// of the session ran: after that nobody can tell whether a lost one did, and so a debt may count twice, and a refund
// isn't told.
func (n *news) reports(l *layout, now time.Time, memory time.Duration) []scripts.PoolReport {
	var out []scripts.PoolReport
	for _, i := range n.list {
		r := i.PoolReport
		if i.counter != "" {
			at, ok := l.byName[i.counter]
			if !ok {
				continue // its account is gone
			}
			r.Limit, r.Owner = l.counters[at].limit, l.counters[at].owner()
		}
		if !i.until.IsZero() {
			r.For = i.until.Sub(now)
		}
		out = append(out, r)
	}
	if n.doubt == nil {
		return out
	}
	forgotten := now.Add(callTimeout).Sub(n.doubt.at) > memory
	out = append(out, scripts.PoolReport{Kind: scripts.UnlessRan, Seq: n.doubt.seq})
	for name, units := range n.doubt.settled {
		if at, ok := l.byName[name]; ok && units != 0 && (units > 0 || !forgotten) {
			c := l.counters[at]
			out = append(out, scripts.PoolReport{Kind: scripts.SettleCounter, Limit: c.limit, Owner: c.owner(), Units: units})
		}
	}
	return out
}

// again takes back what the call seq was to tell and Redis may not have heard. That a block is told twice does no harm.
func (n *news) again(told news, seq int64, outcome scripts.Outcome) {
	n.begin()
	n.list = append(told.list, n.list...)
	n.urgent = n.urgent || told.urgent
	if told.doubt == nil || told.doubt.seq < seq || outcome != scripts.NotRun {
		n.doubt = told.doubt
		return
	}
	for counter, units := range told.doubt.settled {
		n.settle(counter, units)
	}
}
