package scripts

import "time"

// ReportKind says what a PoolReport reports.
type ReportKind int

// Kinds of reports, and the fields of PoolReport that they use.
const (
	CoolBlock     ReportKind = iota // Block isn't used until For is over. Block, For, Reason.
	DisableBlock                    // The same, and then a single call tries it. Block, For, Reason.
	ClearBlock                      // Block is no longer disabled. Block.
	SettleCounter                   // Units, actual less estimated, are charged or refunded. Limit, Owner, Units.
	HoldCounter                     // The counter admits nothing until For is over. Limit, Owner, For.
	UsedCounter                     // At least Units of a count are used. Limit, Owner, Units.
	SlowCounter                     // Factor times slower, unless slowed within Quiet; whole again after For. Limit, Owner.
	// UnlessRan: the reports that follow, to the next of this kind, count unless the session's call Seq, or a later one,
	// ran: they were told by that call, and it is unknown what came of it. Seq 0: they always count. Seq.
	UnlessRan
)

// PoolReport is something that a process learned about a block or a counter.
type PoolReport struct {
	Kind   ReportKind
	Block  string // from KeyBlock or AccountBlock
	Limit  int    // index in PoolConfig.Limits
	Owner  string // whose: an account or key, by the limit's scope; empty: the pool's
	For    time.Duration
	Quiet  time.Duration
	Units  int64
	Seq    int64
	Factor float64 // in (0, 1)
	Reason string  // for people
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
	case UnlessRan:
		return append(a, "unless", r.Seq)
	default:
		return append(a, "slow", r.Limit+1, wireName(r.Owner), r.Factor, r.For.Seconds(), r.Quiet.Seconds())
	}
}
