package scripts

import (
	"context"
	_ "embed"
)

//go:embed gcra_allow.lua
var gcraAllowLua string

var gcraAllowScript = newScript("gcra_allow", gcraAllowLua)

// GCRAAllow is a GCRA call with one Allow on one limit, by a script of its own that is cheaper.
type GCRAAllow struct {
	Key      string
	Known    GCRAState // the latest state that this process has seen, or a zero state
	Deadline int64     // as for NewGCRA
	Count    int       // equal calls
	Limit    GCRALimit // its Key isn't used
	At       int64     // for tests: Redis' time, as for GCRA.At; 0: the real one
}

// Run executes the call, at most once.
func (c *GCRAAllow) Run(ctx context.Context, client Client) (GCRAReply, error) {
	args := make([]any, 10, 11)
	args[2], args[3] = 1, c.Key
	args[4], args[5], args[6], args[7] = c.Count, c.Limit.Interval, c.Limit.Burst, c.Limit.Cost
	args[8], args[9] = c.Known.arg(), c.Deadline
	if c.At != 0 {
		args = append(args, c.At)
	}
	v, err := gcraAllowScript.ints(ctx, client, args)
	keys := [1]string{c.Key}
	if err != nil {
		return GCRAReply{}, newError(gcraAllowScript.name, keys[:], err)
	}
	return newGCRAReply(gcraAllowScript, keys[:], 1, v)
}
