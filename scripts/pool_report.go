package scripts

import "time"

// ReportKind is what a PoolReport reports.
type ReportKind int

// Values of ReportKind, and the fields of PoolReport that each uses.
const (
	CoolBlock     ReportKind = iota // Block isn't used until For is over. Block, For, Factor, Most, Reason.
	DisableBlock                    // The same, and then a single call tests it. Block, For, Factor, Most, Reason.
	ClearBlock                      // Block is no longer disabled. Block.
	SettleCounter                   // Units, actual less estimated, are charged or refunded. Limit, Owner, Units, Charged.
	HoldCounter                     // The counter admits nothing until For is over. Limit, Owner, For.
	UsedCounter                     // At least Units of a count are used. Limit, Owner, Units.
	BookCounter                     // A counter that Redis lost is used up for For. Limit, Owner, For.
	SlowCounter                     // Factor times slower, unless slowed within Quiet; whole again after For. Limit, Owner.
	// UnlessRan: the reports that follow, up to the next UnlessRan, repeat those of the session's call Seq, whose outcome is
	// unknown. They take effect unless that call, or a later one, ran. Seq 0: they always do. Seq.
	UnlessRan
	// AdaptPermits: samples of an account. Account, OK, Dropped, For (the sum of the successes' latencies), Peak (most of its
	// calls in flight at a time), Units (permits to begin with if Redis has no number; 0: as PoolConfig says).
	AdaptPermits
	// FollowLimits: the process follows the limits of version Units, or sets or restores them if Text isn't empty. It comes
	// before all other reports. Where others rule, Admit fails with a LimitsError and nothing is done. Units, Text.
	FollowLimits
	CalmBlock // A cooldown that is over isn't repeated: the next one doesn't grow from it. Block.
	// RampUp: in this call, all limits but counts run at a share of their rates that grows from a tenth to the whole within For
	// of the pool's first start. It stands before all other reports but FollowLimits. For.
	RampUp
)

// PoolReport is what a process learned about a block, a counter or an account.
type PoolReport struct {
	Kind  ReportKind
	Block string // from KeyBlock or AccountBlock
	Limit int    // index in PoolConfig.Limits
	Owner string // the account or key that has the counter, by the limit's scope; empty: the pool
	For   time.Duration
	Quiet time.Duration
	Units int64
	Seq   int64
	// Factor of a SlowCounter is in (0, 1). If that of a block is 1 or more, the block grows while it is repeated: the next one
	// is Factor times as long as the last, up to Most. It is repeated if it begins no later than the last one's length after
	// that one's end, or 5 s if that is more; a disabled one also if its test failed. A block that holds isn't extended.
	Factor  float64
	Most    time.Duration
	Reason  string // for people
	Charged int64  // when the units of a SettleCounter were charged, in microseconds since 2017; 0: now

	Text string // of a FollowLimits; no line feeds

	Account           int // index in PoolConfig.Accounts
	OK, Dropped, Peak int64
}
