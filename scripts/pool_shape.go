package scripts

import (
	"strconv"
	"time"
)

// PoolConfig is what one process says of a pool with every call, and what changes only with the configuration.
type PoolConfig struct {
	Session  string
	TTL      time.Duration // until the session ends unless it calls again
	Horizon  time.Duration // how far ahead a place may be booked
	Metrics  int           // how many metrics a cost has
	Counters []PoolCounter
	Permits  []PoolPermits
	Lanes    []PoolLane
}

// PoolCounter is one GCRA limit, which any number of lanes may draw on.
type PoolCounter struct {
	Name     string  // from CounterName; unique in the pool
	Metric   int     // index in a cost
	Interval float64 // seconds per unit
	Burst    int64   // units
}

// PoolPermits is a limit of calls in flight over all processes, which any number of lanes may draw on.
type PoolPermits struct {
	Name  string // unique in the pool
	Limit int
}

// PoolLane is a way that a call can take: keys that share all their limits.
type PoolLane struct {
	Name     string   // unique in the pool
	Permits  int      // index in PoolConfig.Permits; -1: none
	Blocks   []string // from AccountBlock: what blocks the whole lane
	Counters []int    // indices in PoolConfig.Counters
	Keys     []string
}

// PoolShape is a PoolConfig made ready for sending. It is safe for concurrent use.
type PoolShape struct {
	args    []any
	metrics int
	keys    []int // by lane, how many
}

// NewPoolShape makes a PoolConfig ready for sending.
func NewPoolShape(c *PoolConfig) *PoolShape {
	s := &PoolShape{metrics: c.Metrics}
	text := func(v string) { s.args = append(s.args, wireName(v)) }
	number := func(v int) { s.args = append(s.args, strconv.Itoa(v)) }
	fraction := func(v float64) { s.args = append(s.args, strconv.FormatFloat(v, 'g', -1, 64)) }
	text(c.Session)
	fraction(c.TTL.Seconds())
	fraction(c.Horizon.Seconds())
	number(c.Metrics)
	number(len(c.Counters))
	for _, r := range c.Counters {
		s.args = append(s.args, r.Name)
		number(r.Metric + 1)
		fraction(r.Interval)
		number(int(r.Burst))
	}
	number(len(c.Permits))
	for _, p := range c.Permits {
		text(p.Name)
		number(p.Limit)
	}
	number(len(c.Lanes))
	for _, l := range c.Lanes {
		text(l.Name)
		number(l.Permits + 1)
		number(len(l.Blocks))
		for _, b := range l.Blocks {
			s.args = append(s.args, b)
		}
		number(len(l.Counters))
		for _, i := range l.Counters {
			number(i + 1)
		}
		number(len(l.Keys))
		for _, k := range l.Keys {
			text(k)
		}
		s.keys = append(s.keys, len(l.Keys))
	}
	return s
}

// has reports whether there is such a lane and key.
func (s *PoolShape) has(lane, key int) bool {
	return lane >= 0 && lane < len(s.keys) && key >= 0 && key < s.keys[lane]
}

// KeyBlock names the block of a key.
func KeyBlock(key string) string { return "k:" + wireName(key) }

// AccountBlock names the block of an account.
func AccountBlock(account string) string { return "a:" + wireName(account) }

// CounterName names the counter of one of an account's limits.
func CounterName(account, limit string) string { return wireName(account) + ":" + wireName(limit) }
