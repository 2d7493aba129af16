package scripts

import (
	"context"
	_ "embed"
	"fmt"
	"time"
)

//go:embed gcra.lua
var gcraLua string

//go:embed gcra_operations.lua
var gcraOperationsLua string

var gcraScript = newScript("gcra", coreLua, gcraLua, gcraOperationsLua)

// The operations as they are named on the wire: see gcra.lua.
const (
	opAllow    = "a"
	opAtMost   = "m"
	opReserve  = "r"
	opRefund   = "g"
	opCharge   = "d"
	opObserve  = "o"
	opStepBack = "s"
	opReset    = "z"
)

// GCRALimit is a limit in one operation.
type GCRALimit struct {
	// Key is the index of the limit's key among those of the call, from 0.
	Key int
	// Interval is the emission interval in seconds per unit; positive and finite.
	Interval float64
	// Burst is how many units may be used at once; at least 1.
	Burst int64
	// Cost is what the operation takes of the limit; not negative.
	Cost int64
}

// GCRA is one call of the rate limit script: operations on limits, executed in order, in one atomic step. gcra.lua
// states the arguments and the reply. A GCRA is built and used by one goroutine, once.
type GCRA struct {
	keys    []string
	args    []any // the command as it goes to Redis
	results int   // how many numbers the operations answer with
}

// Where the arguments of the command begin: verb, script, number of keys, keys, now, deadline, known states, operations.
const gcraKeys = 3

// NewGCRA begins a call on the keys. known has the latest state of each that this process has seen, or a zero
// state. A script that would start later than deadline, in microseconds since 2017 by Redis' clock, does nothing;
// zero means none. size is how many more arguments the operations will need, as a hint.
func NewGCRA(keys []string, known []GCRAState, deadline int64, size int) *GCRA {
	c := &GCRA{keys: keys, args: make([]any, gcraKeys, gcraKeys+2*len(keys)+2+size)}
	c.args[2] = len(keys)
	for _, k := range keys {
		c.args = append(c.args, k)
	}
	c.args = append(c.args, "", deadline)
	for _, s := range known {
		c.args = append(c.args, s.arg())
	}
	return c
}

// At makes the script take now, in microseconds since 2017, for Redis' time. For tests.
func (c *GCRA) At(now int64) { c.args[gcraKeys+len(c.keys)] = now }

func (c *GCRA) limits(limits []GCRALimit) {
	for i := range limits {
		c.limit(&limits[i])
	}
}

func (c *GCRA) limit(l *GCRALimit) {
	c.args = append(c.args, l.Key+1, l.Interval, l.Burst, l.Cost)
}

// Allow adds count equal calls: each takes all its costs now, or nothing. The result is how many were admitted: the
// first ones.
func (c *GCRA) Allow(count int, limits ...GCRALimit) {
	c.args = append(c.args, opAllow, count, len(limits))
	c.limits(limits)
	c.results++
}

// AtMost adds count equal calls: each takes as much of its cost as fits now. The result is how many units they took
// together.
func (c *GCRA) AtMost(count int, limit GCRALimit) {
	c.args = append(c.args, opAtMost, count, 1)
	c.limit(&limit)
	c.results++
}

// Reserve adds count equal calls: each takes all its costs at the earliest time at which all of them fit. No cost may
// exceed its burst. waits is, for each call, how far away that time may be, in microseconds; without waits, it may be
// any, and the result is count. With waits, the results are a bit for each call, 32 in a number, lowest first.
func (c *GCRA) Reserve(count int, waits []int64, limits ...GCRALimit) {
	c.args = append(c.args, opReserve, count, len(limits))
	c.limits(limits)
	c.args = append(c.args, len(waits))
	for _, w := range waits {
		c.args = append(c.args, w)
	}
	if len(waits) == 0 {
		c.results++
		return
	}
	c.results += (count + 31) / 32
}

// GiveBack adds the return of Cost units that were charged before: after is the state of the limit right after that
// charge. What is returned is at most what can't lead to an excess in any window; the result is how much, in microseconds.
func (c *GCRA) GiveBack(limit GCRALimit, after GCRAState) {
	c.args = append(c.args, opRefund)
	c.limit(&limit)
	c.args = append(c.args, after.TAT, after.Given)
	c.results++
}

// Debit adds a charge that is made whatever the state. The result is 1.
func (c *GCRA) Debit(limit GCRALimit) {
	c.args = append(c.args, opCharge)
	c.limit(&limit)
	c.results++
}

// Observe adds a report that no more than remaining units may be used until reset has passed; with a reset of zero,
// that remaining units are there now. limit's Cost isn't used. The state is never raised; the result is 1 if it was
// lowered.
func (c *GCRA) Observe(limit GCRALimit, remaining int64, reset time.Duration) {
	limit.Cost = remaining
	c.args = append(c.args, opObserve)
	c.limit(&limit)
	c.args = append(c.args, reset.Seconds())
	c.results++
}

// SetBack adds a report that Redis' clock was set back by step, or more, since the client saw the state: what it had
// charged then seems to lie further ahead by as much, and is moved back. Of several clients' reports of the same step,
// one counts. The result is 1 if it had effect.
func (c *GCRA) SetBack(key int, step time.Duration, seen GCRAState) {
	c.args = append(c.args, opStepBack, key+1, step.Seconds(), seen.TAT, seen.Given)
	c.results++
}

// Reset adds the return of everything ever charged. Clients that hold the state before learn of it for remember, at
// least, that it is over. The result is 1.
func (c *GCRA) Reset(key int, remember time.Duration) {
	c.args = append(c.args, opReset, key+1, remember.Seconds())
	c.results++
}

// Run executes the call, at most once.
func (c *GCRA) Run(ctx context.Context, client Client) (GCRAReply, error) {
	v, err := gcraScript.ints(ctx, client, c.args)
	if err != nil {
		return GCRAReply{}, newError(gcraScript.name, c.keys, err)
	}
	return newGCRAReply(gcraScript, c.keys, c.results, v)
}

// GCRAReply is the script's reply.
type GCRAReply struct {
	v    []int64
	keys int
}

// newGCRAReply checks the length of a reply.
func newGCRAReply(s *script, keys []string, results int, v []int64) (GCRAReply, error) {
	if want := 1 + 2*len(keys) + results; len(v) != want {
		err := fmt.Errorf("reply has %d numbers instead of %d: is another version of the script in use?", len(v), want)
		return GCRAReply{}, newError(s.name, keys, err)
	}
	return GCRAReply{v: v, keys: len(keys)}, nil
}

// Now returns Redis' time at the call, in microseconds since 2017.
func (r GCRAReply) Now() int64 { return r.v[0] }

// Ahead returns how far the TAT of a key was ahead of now before the first Allow, AtMost or Reserve of the call, or at
// the end if there was none: 0 for a limit at rest.
func (r GCRAReply) Ahead(key int) time.Duration {
	if ns := r.v[1+2*key]; ns >= 0 {
		return time.Duration(ns)
	}
	return time.Duration(-1 - r.v[1+2*key])
}

// Missing reports whether a key was absent in Redis although the client knew a later state, which the script restored.
func (r GCRAReply) Missing(key int) bool { return r.v[1+2*key] < 0 }

// Given returns how much of a key's limit had been given back at the same moment, as in GCRAState.
func (r GCRAReply) Given(key int) int64 { return r.v[2+2*key] }

// Results returns the operations' results, in their order.
func (r GCRAReply) Results() []int64 { return r.v[1+2*r.keys:] }
