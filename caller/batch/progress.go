package batch

import (
	"errors"
	"sync/atomic"
	"time"
)

// Progress counts the events of a run. Its zero value is ready for use. It is safe for concurrent use, also during the run.
type Progress struct {
	taken, succeeded, failed, rejected, abandoned atomic.Int64
	blocked                                       atomic.Int64
}

// Counts are a run's counts at one moment.
type Counts struct {
	// Taken is the number of inputs that workers have taken.
	Taken int64
	// Succeeded and Failed are the numbers of calls that ended without and with an error.
	Succeeded, Failed int64
	// Abandoned is the number of calls that a drain ended before they began. Failed leaves them out.
	Abandoned int64
	// Rejected is the number of errors that the sequence had in place of inputs.
	Rejected int64
	// Blocked is the time for which an input was ready and every worker was busy. If it is near the run's whole time, more
	// workers help, unless the calls themselves wait for something.
	Blocked time.Duration
}

// InFlight returns the number of calls in progress, waiting ones included.
func (c Counts) InFlight() int64 { return c.Taken - c.Succeeded - c.Failed - c.Abandoned }

// Counts returns the counts so far.
func (p *Progress) Counts() Counts {
	c := Counts{
		Succeeded: p.succeeded.Load(), Failed: p.failed.Load(), Abandoned: p.abandoned.Load(),
		Rejected: p.rejected.Load(), Blocked: time.Duration(p.blocked.Load()),
	}
	c.Taken = p.taken.Load() // last, so that InFlight is never negative
	return c
}

// ended counts a result.
func (p *Progress) ended(err error) {
	_, input := errors.AsType[*InputError](err)
	switch {
	case err == nil:
		p.succeeded.Add(1)
	case input: // counted by the feeder
	case errors.Is(err, ErrDrained):
		p.abandoned.Add(1)
	default:
		p.failed.Add(1)
	}
}
