package scripts

import "time"

// ReportKind says what a PoolReport reports.
type ReportKind int

// Kinds of reports, and the fields of PoolReport that they use.
const (
	CoolBlock     ReportKind = iota // Block isn't used until For is over. Block, For, Reason.
	DisableBlock                    // The same, and then a single call tries it. Block, For, Reason.
	ClearBlock                      // Block is no longer disabled. Block.
	SettleCounter                   // Units, actual less estimated, are charged or refunded. Counter, Units.
	HoldCounter                     // The counter admits nothing until For is over. Counter, For.
	UsedCounter                     // At least Units of a count are used. Counter, Units.
	SlowCounter                     // Factor times slower, unless slowed within Quiet; whole again after For. Counter.
	// UnlessRan: the reports that follow, to the next of this kind, count unless the session's call Seq, or a later one,
	// ran: they were told by that call, and it is unknown what came of it. Seq 0: they always count. Seq.
	UnlessRan
)

// PoolReport is something that a process learned about a block or a counter.
type PoolReport struct {
	Kind    ReportKind
	Block   string // from KeyBlock or AccountBlock
	Counter int    // index in PoolConfig.Counters
	For     time.Duration
	Quiet   time.Duration
	Units   int64
	Seq     int64
	Factor  float64 // in (0, 1)
	Reason  string  // for people
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
		return append(a, "settle", r.Counter+1, r.Units)
	case HoldCounter:
		return append(a, "hold", r.Counter+1, r.For.Seconds())
	case UsedCounter:
		return append(a, "used", r.Counter+1, r.Units)
	case UnlessRan:
		return append(a, "unless", r.Seq)
	default:
		return append(a, "slow", r.Counter+1, r.Factor, r.For.Seconds(), r.Quiet.Seconds())
	}
}
