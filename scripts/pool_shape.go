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
	Strategy Strategy
	Metrics  int // how many metrics a cost has
	Counters []PoolCounter
	Permits  []PoolPermits
	Lanes    []PoolLane
}

// Strategy says which of the lanes that can serve a call now is taken. Where none can, it is the one that can first.
type Strategy string

// Strategies.
const (
	Headroom   Strategy = "headroom"    // the one that has been ready for longest, times its weight
	RoundRobin Strategy = "round_robin" // in turn, by weight
	InOrder    Strategy = "in_order"    // the first
)

// PoolCounter is one limit, which any number of lanes may draw on: GCRA, or a count that starts anew at a given time.
type PoolCounter struct {
	Name     string  // from PoolLimitName, AccountLimitName or KeyLimitName; unique in the pool
	Metric   int     // index in a cost
	Interval float64 // seconds per unit
	Burst    int64   // units
	Limit    int64   // units that any single call may cost
	Grows    bool    // the burst of a window grows to what calls cost, up to a quarter of Limit
	End      int64   // 0: GCRA; else Burst units may be used until then, in microseconds since 2017
}

// PoolPermits is a limit of calls in flight over all processes, which any number of lanes may draw on.
type PoolPermits struct {
	Name  string // unique in the pool
	Limit int
}

// PoolLane is a way that a call can take: keys that share all their limits.
type PoolLane struct {
	Name     string   // from LaneName; unique in the pool
	Weight   int      // at least 1
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
	s.args = append(s.args, string(c.Strategy))
	number(c.Metrics)
	number(len(c.Counters))
	for _, r := range c.Counters {
		s.args = append(s.args, r.Name)
		number(r.Metric + 1)
		fraction(r.Interval)
		number(int(r.Burst))
		number(int(r.Limit))
		grows := 0
		if r.Grows {
			grows = 1
		}
		number(grows)
		s.args = append(s.args, seconds(r.End))
	}
	number(len(c.Permits))
	for _, p := range c.Permits {
		text(p.Name)
		number(p.Limit)
	}
	number(len(c.Lanes))
	for _, l := range c.Lanes {
		s.args = append(s.args, l.Name)
		number(l.Weight)
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

// AccountBlock names the block of an account, or with a family of models of that family alone.
func AccountBlock(account, family string) string {
	if family == "" {
		return "a:" + wireName(account)
	}
	return "m:" + wireName(account) + ":" + wireName(family)
}

// LaneName names the lane of an account for a family of models, and of one key alone where key isn't empty.
func LaneName(account, family, key string) string {
	return wireName(account) + ":" + wireName(family) + ":" + wireName(key)
}

// PoolLimitName names the counter of a limit of the whole pool.
func PoolLimitName(limit string) string { return ":" + wireName(limit) }

// AccountLimitName names the counter of an account's limit.
func AccountLimitName(account, limit string) string { return wireName(account) + ":" + wireName(limit) }

// KeyLimitName names the counter of a key's limit.
func KeyLimitName(key, limit string) string { return "k:" + wireName(key) + ":" + wireName(limit) }
