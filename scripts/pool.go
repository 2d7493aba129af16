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

//go:embed pool_single.lua
var poolSingleLua string

//go:embed pool_field.lua
var poolFieldLua string

//go:embed pool_target.lua
var poolTargetLua string

//go:embed pool_state.lua
var poolStateLua string

//go:embed pool_session.lua
var poolSessionLua string

//go:embed pool_counter.lua
var poolCounterLua string

//go:embed pool_block.lua
var poolBlockLua string

//go:embed pool_limits.lua
var poolLimitsLua string

//go:embed pool_report.lua
var poolReportLua string

//go:embed pool_permit.lua
var poolPermitLua string

//go:embed pool_evaluate.lua
var poolEvaluateLua string

//go:embed pool_tenant.lua
var poolTenantLua string

//go:embed pool_admit.lua
var poolAdmitLua string

//go:embed pool_scan.lua
var poolScanLua string

//go:embed pool_write.lua
var poolWriteLua string

var poolScript = newScript("pool",
	coreLua, poolSingleLua, semaphoreAdaptiveLua, poolLua, poolFieldLua, poolTargetLua, poolStateLua, poolSessionLua,
	poolCounterLua, poolBlockLua, poolLimitsLua,
	poolReportLua, poolPermitLua, poolEvaluateLua, poolTenantLua, poolAdmitLua, poolScanLua, poolWriteLua)

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

// StateVersion identifies the state that a reply came from, so that a later call finds out whether some of it is lost.
type StateVersion struct {
	Origin     int64 // when the state began; 0: there is none
	Generation int64 // grows with every loss of writes that is found
	Version    int64 // grows with every write
	Seq        int64 // of the call
	Sessions   int   // that held permits or had calls waiting
}

// PoolDemand is a run of equal calls.
type PoolDemand struct {
	Count      int
	ModelGroup int           // index in PoolConfig.ModelGroups
	Ahead      time.Duration // how far ahead of now they may be booked, up to the horizon
	Prefer     int           // the target that they take if it can serve them within Ahead, by index; -1: none
	Exclude    []int         // targets that they must not take, by index
	Cost       []int64       // of each metric; none negative
	Tenant     int           // index in PoolConfig.Tenants, if there are any
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
	Waiting    int           // other sessions with calls waiting for limits
	Unreadable int           // fields of the state that could not be read, and were dropped
	Refused    int           // reports of this call that can't be true: settlements of more than twice a limit
	Muted      bool          // Redis refused to publish: other sessions learn of released permits by polling only
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
	a, _ := poolArgsPool.Get().(*poolArgs)
	defer poolArgsPool.Put(a)
	v, err := poolScript.ints(ctx, c, a.encode(pool, call))
	if err != nil {
		return nil, newError(poolScript.name, []string{a.key}, err)
	}
	reply, err := decodePool(v, call)
	if err != nil {
		return nil, newError(poolScript.name, []string{a.key}, err)
	}
	return reply, nil
}

// seconds writes microseconds as seconds, exactly.
func seconds(us int64) string {
	return strconv.FormatFloat(float64(us)/1e6, 'f', 6, 64)
}

func decodePool(n []int64, call *PoolCall) (*PoolReply, error) {
	const header = 13
	demands := len(call.Demands)
	if len(n) < header+2*demands || int64(len(n)) < n[header-1]+int64(header+2*demands) {
		return nil, fmt.Errorf("unexpected reply %v", n)
	}
	reply := &PoolReply{
		Now: n[0], Version: StateVersion{n[1], n[2], n[3], call.Seq, int(n[4])}, Poll: n[6] != 0, Constraint: int(n[7]),
		Waiting: int(n[8]), Unreadable: int(n[9]), Refused: int(n[10]), Muted: n[11] != 0,
	}
	switch n[5] {
	case -1: // nothing is left
	case -2:
		reply.Wake = PoolPoll
	default:
		reply.Wake = time.Duration(n[5]) * time.Microsecond
	}
	if length := int(n[header-1]); length > 0 {
		text := make([]byte, length)
		for i, b := range n[len(n)-length:] {
			text[i] = byte(b)
		}
		reply.Reason, n = string(text), n[:len(n)-length]
	}
	n = n[header:]
	if demands > 0 {
		both := make([]int, 2*demands)
		reply.Admitted, reply.Blocked = both[:demands:demands], both[demands:]
	}
	for i := range demands {
		reply.Admitted[i], reply.Blocked[i] = int(n[2*i]), int(n[2*i+1])
	}
	if err := reply.decodeRuns(n[2*demands:], call); err != nil {
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
		open := call.Config.groups[d.ModelGroup].open
		for left := int64(r.Admitted[i]); left > 0; n = n[4:] {
			if len(n) < 4 || n[2] < 1 || n[2] > left {
				return fmt.Errorf("unexpected reply: not %d grants for demand %d", r.Admitted[i], i)
			}
			g := PoolGrant{Key: int(n[1]), SendAt: r.Now + n[3]}
			if g.Key < 0 {
				g.Key, g.Trial = -g.Key-1, true
			}
			if n[0] < 0 || n[0] >= int64(len(open)) || g.Key >= call.Config.targets[open[n[0]]].keys {
				return fmt.Errorf("unexpected reply: no target %d with a key %d", n[0], g.Key)
			}
			g.Target = d.ModelGroup*len(call.Config.targets) + open[n[0]]
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
