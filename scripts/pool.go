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

//go:embed pool_counter.lua
var poolCounterLua string

//go:embed pool_block.lua
var poolBlockLua string

//go:embed pool_report.lua
var poolReportLua string

//go:embed pool_permit.lua
var poolPermitLua string

//go:embed pool_target.lua
var poolTargetLua string

//go:embed pool_admit.lua
var poolAdmitLua string

//go:embed pool_write.lua
var poolWriteLua string

var poolScript = newScript("pool",
	coreLua, semaphoreAdaptiveLua, poolLua, poolCounterLua, poolBlockLua, poolReportLua, poolPermitLua, poolTargetLua,
	poolAdmitLua, poolWriteLua)

// PoolKey is the HASH that holds all the state of the pool.
func PoolKey(pool string) string { return "penstock:pool:{" + wireName(pool) + "}" }

// PoolChannel is the Pub/Sub channel on which the session is notified of permits that were released.
func PoolChannel(pool, session string) string { return PoolKey(pool) + ":" + wireName(session) }

// What delays the first call that was not admitted, or else the last call that was admitted: the index of a limit, or one of
// these.
const (
	ConstraintPermits  = -1 // every permit is taken
	ConstraintCooldown = -2 // every key that isn't disabled is cooling down
	ConstraintDisabled = -3 // every key is disabled
	ConstraintNone     = -4 // nothing: every call was admitted, and may be sent now
	ConstraintExcluded = -5 // every key is disabled, except those of excluded targets
)

// PoolCall is one call of the script. Reports take effect before demands, and demands are served in order.
type PoolCall struct {
	Config   *EncodedConfig
	Seq      int64        // from 1, grows with every call of the session
	Deadline int64        // do nothing after this time, in microseconds since 2017; 0: none
	Now      int64        // for tests: the time, in microseconds since 2017; 0: Redis' own
	Expected StateVersion // of the state that the session has seen: if it is lost, nothing is done; zero: no check
	Held     []int        // permits that this session holds now, of each account; nil: there is no limit of them
	Reports  []PoolReport
	Demands  []PoolDemand
}

// StateVersion orders the states of a pool: by generation, then by version.
type StateVersion struct {
	Generation int64 // 0: there is none
	Version    int64 // grows with every write
}

// PoolDemand is a run of equal calls.
type PoolDemand struct {
	Count      int
	ModelGroup int           // index in PoolConfig.ModelGroups
	Ahead      time.Duration // how far ahead of now they may be booked, up to the horizon
	Prefer     int           // the target that they take if it can serve them within Ahead, by index; -1: none
	Exclude    []int         // targets that they must not take, by index
	Cost       []int64       // of each metric; none negative
}

// PoolGrant is one admitted call.
type PoolGrant struct {
	Target int   // by index; see PoolConfig
	Key    int   // index in the target's keys
	SendAt int64 // when the call may be sent, in microseconds since 2017
	// Trial: the key is disabled, and this call alone may test it. The process reports ClearBlock or DisableBlock after it.
	Trial bool
}

// PoolReply is the script's reply.
type PoolReply struct {
	Now        int64         // Redis' time, in microseconds since 2017
	Version    StateVersion  // of the state as it is now
	Wake       time.Duration // until another call may admit what is left; PoolPoll: unknown
	Poll       bool          // a released permit may help before
	Constraint int           // index of a limit, or one of the Constraint constants
	Waiting    int           // other sessions with calls waiting
	Reason     string        // why a key is disabled, for the first demand that ConstraintDisabled delays
	Admitted   []int         // of each demand, how many calls were admitted: its first ones
	Blocked    []int         // of each demand, what delays the next call, as Constraint; ConstraintNone: earlier calls
	Grants     []PoolGrant   // one for each admitted call, in order of the demands
}

// PoolPoll is a Wake of unknown length: only a poll can tell.
const PoolPoll time.Duration = -1

// Admit reports what the session holds and learned, and asks for calls to be admitted to the pool. The script runs at most
// once; an Error says what is known of a call that failed.
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
	a := make([]any, 0, len(p.Config.args)+7+len(p.Held)+6*len(p.Reports)+(6+p.Config.metrics)*len(p.Demands))
	now := ""
	if p.Now != 0 {
		now = seconds(p.Now)
	}
	a = append(a, p.Config.args...)
	a = append(a, now, seconds(p.Deadline), p.Seq, p.Expected.Generation, p.Expected.Version)
	for _, held := range p.Held {
		a = append(a, held)
	}
	a = append(a, len(p.Reports))
	for i := range p.Reports {
		a = p.Reports[i].append(a)
	}
	a = append(a, len(p.Demands))
	for _, d := range p.Demands {
		prefer := 0
		if d.Prefer >= 0 {
			prefer = p.Config.local(d.ModelGroup, d.Prefer)
		}
		a = append(a, d.Count, d.ModelGroup+1, d.Ahead.Seconds(), prefer, len(d.Exclude))
		for _, target := range d.Exclude {
			a = append(a, p.Config.local(d.ModelGroup, target))
		}
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
	const header = 8
	r, ok := v.([]any)
	if !ok || len(r) < header+2*len(call.Demands) || (len(r)-header-2*len(call.Demands))%4 != 0 {
		return nil, fmt.Errorf("unexpected reply %v", v)
	}
	reason, ok := r[header-1].(string)
	if !ok {
		return nil, fmt.Errorf("unexpected reply: the reason is %v", r[header-1])
	}
	n := make([]int64, len(r))
	for i, x := range r {
		if n[i], ok = x.(int64); !ok && i != header-1 {
			return nil, fmt.Errorf("unexpected reply: element %d is %v", i, x)
		}
	}
	reply := &PoolReply{
		Now: n[0], Version: StateVersion{n[1], n[2]}, Poll: n[4] != 0, Constraint: int(n[5]), Waiting: int(n[6]), Reason: reason,
	}
	switch n[3] {
	case -1: // nothing is left
	case -2:
		reply.Wake = PoolPoll
	default:
		reply.Wake = time.Duration(n[3]) * time.Microsecond
	}
	n = n[header:]
	for range call.Demands {
		reply.Admitted, reply.Blocked = append(reply.Admitted, int(n[0])), append(reply.Blocked, int(n[1]))
		n = n[2:]
	}
	if err := reply.decodeRuns(n, call); err != nil {
		return nil, err
	}
	return reply, nil
}

// decodeRuns decodes runs of grants, each of one demand.
func (r *PoolReply) decodeRuns(n []int64, call *PoolCall) error {
	total := 0
	for _, admitted := range r.Admitted {
		total += admitted
	}
	r.Grants = make([]PoolGrant, 0, total)
	for i, d := range call.Demands {
		for left := int64(r.Admitted[i]); left > 0; n = n[4:] {
			if len(n) == 0 || n[2] < 1 || n[2] > left {
				return fmt.Errorf("unexpected reply: not %d grants for demand %d", r.Admitted[i], i)
			}
			g := PoolGrant{Target: d.ModelGroup*len(call.Config.targets) + int(n[0]), Key: int(n[1]), SendAt: r.Now + n[3]}
			if g.Key < 0 {
				g.Key, g.Trial = -g.Key-1, true
			}
			if !call.Config.has(int(n[0]), g.Key) {
				return fmt.Errorf("unexpected reply: no target %d with a key %d", n[0], g.Key)
			}
			for range n[2] {
				r.Grants = append(r.Grants, g)
			}
			left -= n[2]
		}
	}
	if len(n) > 0 {
		return fmt.Errorf("unexpected reply: %d grants too many", len(n)/4)
	}
	return nil
}
