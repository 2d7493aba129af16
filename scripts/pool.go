package scripts

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"
)

//go:embed core.lua
var coreLua string

//go:embed pool.lua
var poolLua string

var poolScript = newScript("pool", coreLua, poolLua)

// PoolKey is the HASH that holds all the state of the pool.
func PoolKey(pool string) string { return "penstock:pool:{" + wireName(pool) + "}" }

// What is in the way of the first call that was not admitted, else of the last one that was: the index of a limit, or
// one of these.
const (
	BindingPermits  = -1 // every permit is taken
	BindingCooldown = -2 // every key that is left is cooling down
	BindingDisabled = -3 // every key is disabled
	BindingNone     = -4 // nothing: every call was admitted for now
)

// PoolLimit is one limit that every account of a pool has.
type PoolLimit struct {
	Name     string  // unique in the pool
	Interval float64 // seconds per unit
	Burst    int64   // units
}

// PoolAccount is what one process knows of one account.
type PoolAccount struct {
	Name    string
	Permits int // calls in flight over all processes; 0: no limit
	Held    int // permits that this session holds now
	Keys    []string
}

// PoolReport blocks a key or an account for a while.
type PoolReport struct {
	Account bool // Name is an account's, not a key's
	Name    string
	For     time.Duration
	Off     bool   // disabled, not just cooling down
	Reason  string // for people
}

// PoolDemand is a run of equal calls.
type PoolDemand struct {
	Count int
	Cost  []int64 // on each limit of the call, in their order; none negative
}

// PoolCall is one call of the script. Demands are served in order.
type PoolCall struct {
	Session  string
	Seq      int64         // grows with every call of the session
	TTL      time.Duration // until the session ends unless it calls again
	Horizon  time.Duration // how far ahead a place may be booked
	Deadline int64         // do nothing after this time, in microseconds since 2017; 0: none
	Now      int64         // for tests: the time, in microseconds since 2017; 0: Redis' own
	Limits   []PoolLimit
	Accounts []PoolAccount
	Reports  []PoolReport
	Demands  []PoolDemand
}

// PoolGrant is one admitted call.
type PoolGrant struct {
	Account int   // index in PoolCall.Accounts
	Key     int   // index in its Keys
	Slot    int64 // when the call may be sent, in microseconds since 2017
}

// PoolReply is the script's answer.
type PoolReply struct {
	Now      int64         // Redis' time, in microseconds since 2017
	Wake     time.Duration // until it is worth asking again for what is left; PoolPoll: nobody can tell
	Binding  int           // index of a limit, or one of the Binding constants
	Waiting  int           // other sessions with calls waiting
	Reason   string        // why a key is disabled, with BindingDisabled
	Admitted []int         // of each demand, how many calls were admitted: its first ones
	Grants   []PoolGrant   // one for each admitted call, in order of the demands
}

// PoolPoll stands for a Wake that only a poll can tell.
const PoolPoll time.Duration = -1

// Admit asks for calls to be admitted to the pool, and reports what the session holds and learned. The script runs at
// most once; see Error for what is known of a call that failed.
func Admit(ctx context.Context, c Client, pool string, call *PoolCall) (*PoolReply, error) {
	keys := []string{PoolKey(pool)}
	v, err := poolScript.run(ctx, c, keys, call.args())
	if err != nil {
		return nil, err
	}
	reply, err := decodePool(v, call)
	if err != nil {
		return nil, newError(poolScript.name, keys, err)
	}
	return reply, nil
}

func (p *PoolCall) args() []any {
	a := make([]any, 0, 16+3*len(p.Limits)+8*len(p.Accounts)+5*len(p.Reports)+(1+len(p.Limits))*len(p.Demands))
	now := ""
	if p.Now != 0 {
		now = seconds(p.Now)
	}
	a = append(a, now, seconds(p.Deadline), wireName(p.Session), p.Seq, p.TTL.Seconds(), p.Horizon.Seconds())
	a = append(a, len(p.Limits))
	for _, l := range p.Limits {
		a = append(a, wireName(l.Name), l.Interval, l.Burst)
	}
	a = append(a, len(p.Accounts))
	for _, t := range p.Accounts {
		a = append(a, wireName(t.Name), t.Permits, t.Held, len(t.Keys))
		for _, k := range t.Keys {
			a = append(a, wireName(k))
		}
	}
	a = append(a, len(p.Reports))
	for _, r := range p.Reports {
		what, kind := "key", "cool"
		if r.Account {
			what = "account"
		}
		if r.Off {
			kind = "off"
		}
		a = append(a, what, wireName(r.Name), r.For.Seconds(), kind, r.Reason)
	}
	a = append(a, len(p.Demands))
	for _, d := range p.Demands {
		a = append(a, d.Count)
		for _, c := range d.Cost {
			a = append(a, c)
		}
	}
	return a
}

// seconds writes microseconds as seconds, exactly.
func seconds(us int64) string {
	return strconv.FormatFloat(float64(us)/1e6, 'f', 6, 64)
}

func decodePool(v any, call *PoolCall) (*PoolReply, error) {
	const header = 5
	r, ok := v.([]any)
	if !ok || len(r) < header+len(call.Demands) || (len(r)-header-len(call.Demands))%3 != 0 {
		return nil, fmt.Errorf("unexpected reply %v", v)
	}
	reason, ok := r[4].(string)
	if !ok {
		return nil, fmt.Errorf("unexpected reply: the reason is %v", r[4])
	}
	n := make([]int64, len(r))
	for i, x := range r {
		if n[i], ok = x.(int64); !ok && i != 4 {
			return nil, fmt.Errorf("unexpected reply: element %d is %v", i, x)
		}
	}
	reply := &PoolReply{Now: n[0], Binding: int(n[2]), Waiting: int(n[3]), Reason: reason}
	switch n[1] {
	case -1: // nothing is left
	case -2:
		reply.Wake = PoolPoll
	default:
		reply.Wake = time.Duration(n[1]) * time.Microsecond
	}
	n = n[header:]
	for range call.Demands {
		reply.Admitted, n = append(reply.Admitted, int(n[0])), n[1:]
	}
	for ; len(n) > 0; n = n[3:] {
		g := PoolGrant{Account: int(n[0]), Key: int(n[1]), Slot: reply.Now + n[2]}
		if g.Account < 0 || g.Account >= len(call.Accounts) || g.Key < 0 || g.Key >= len(call.Accounts[g.Account].Keys) {
			return nil, fmt.Errorf("unexpected reply: no account %d with a key %d", g.Account, g.Key)
		}
		reply.Grants = append(reply.Grants, g)
	}
	return reply, nil
}
