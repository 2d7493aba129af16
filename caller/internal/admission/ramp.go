package admission

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

// rampReply is the age of the last reply from which on Redis may have dropped the state of a pool that no process used. The
// script keeps it for 15 minutes.
const rampReply = 10 * time.Minute

// ramp says which script calls carry the report by which a young pool begins slowly. It is pure.
type ramp struct {
	over    time.Duration // from the pool's first start to the whole pace; 0: there is no ramp
	until   time.Time     // when the ramp of the state of the last reply ends
	replied time.Time     // when that came; zero: there was none
}

// report returns the report for a call that is composed now. ok is false if the call needs none.
func (r *ramp) report(now time.Time) (report scripts.PoolReport, ok bool) {
	if r.over == 0 || !r.replied.IsZero() && now.Sub(r.replied) < rampReply && !now.Before(r.until) {
		return report, false
	}
	return scripts.PoolReport{Kind: scripts.RampUp, For: r.over}, true
}

// replyReceived records a reply from a state that began at an origin. local returns this process's time of a time of Redis.
func (r *ramp) replyReceived(now time.Time, origin int64, local func(int64) (time.Time, bool)) {
	if r.over == 0 {
		return
	}
	r.replied = now
	if at, ok := local(origin); ok {
		r.until = at.Add(r.over + time.Second) // the pool's clock may be behind
	}
}
