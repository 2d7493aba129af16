package scripts

import "time"

// ReportKind is what a PoolReport reports.
type ReportKind int

// Values of ReportKind, and the fields of PoolReport that each uses.
const (
	CoolBlock     ReportKind = iota // Block isn't used until For is over. Block, For, Reason.
	DisableBlock                    // The same, and then a single call tests it. Block, For, Reason.
	ClearBlock                      // Block is no longer disabled. Block.
	SettleCounter                   // Units, actual less estimated, are charged or refunded. Limit, Owner, Units.
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
)

// PoolReport is what a process learned about a block, a counter or an account.
type PoolReport struct {
	Kind   ReportKind
	Block  string // from KeyBlock or AccountBlock
	Limit  int    // index in PoolConfig.Limits
	Owner  string // the account or key that has the counter, by the limit's scope; empty: the pool
	For    time.Duration
	Quiet  time.Duration
	Units  int64
	Seq    int64
	Factor float64 // in (0, 1)
	Reason string  // for people

	Account           int // index in PoolConfig.Accounts
	OK, Dropped, Peak int64
}

func (r *PoolReport) append(a []any) []any {
	switch r.Kind {
	case CoolBlock:
		return append(a, "cool", r.Block, r.For.Seconds(), r.Reason)
	case DisableBlock:
		return append(a, "off", r.Block, r.For.Seconds(), r.Reason)
	case ClearBlock:
		return append(a, "clear", r.Block)
	case SettleCounter:
		return append(a, "settle", r.Limit+1, wireName(r.Owner), r.Units)
	case HoldCounter:
		return append(a, "hold", r.Limit+1, wireName(r.Owner), r.For.Seconds())
	case UsedCounter:
		return append(a, "used", r.Limit+1, wireName(r.Owner), r.Units)
	case BookCounter:
		return append(a, "booked", r.Limit+1, wireName(r.Owner), r.For.Seconds())
	case AdaptPermits:
		return append(a, "adapt", r.Account+1, r.OK, r.Dropped, r.For.Microseconds(), r.Peak, r.Units)
	case UnlessRan:
		return append(a, "unless", r.Seq)
	default:
		return append(a, "slow", r.Limit+1, wireName(r.Owner), r.Factor, r.For.Seconds(), r.Quiet.Seconds())
	}
}
