package batch

import (
	"errors"
	"sync/atomic"
	"time"
)

// Progress counts what a run does. Its zero value is ready for use; it is safe for concurrent use, also during the run.
type Progress struct {
	taken, succeeded, failed, rejected, abandoned atomic.Int64
	blocked                                       atomic.Int64
}

// Counts are a run's counts at one moment.
type Counts struct {
	// Taken is how many inputs were handed to a worker.
	Taken int64
	// Succeeded and Failed are how many calls ended without and with an error.
	Succeeded, Failed int64
	// Abandoned is how many calls a drain gave up before they began. They aren't in Failed.
	Abandoned int64
	// Rejected is how many errors the sequence had in place of inputs.
	Rejected int64
	// Blocked is for how long inputs stood ready while every worker was busy. Near the run's whole time, it says that
	// more workers would help, unless the calls themselves wait for something.
	Blocked time.Duration
}

// InFlight is how many calls are going on, waiting included.
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
