package admission

import (
	"errors"
	"time"

	"github.com/penstock/penstock/scripts"
)

// Observer has functions that are called without the lock. Each is optional and must return quickly.
type Observer struct {
	// LeaseLost is called when the permits of the calls in flight are lost, with the number of these calls and the error of
	// the last script call; nil: it succeeded.
	LeaseLost func(calls int, failure error)
	// ScriptCalled is called after every script call.
	ScriptCalled func(ScriptCall)
	// RedisFailed is called when a script call fails.
	RedisFailed func(error)
	// RedisRecovered is called when a script call succeeds after RedisFailed.
	RedisRecovered func()
	// LimitsChanged is called when this process has adopted limits.
	LimitsChanged func(LimitsChange)
	// StateLost is called when Redis has lost writes, and StateRestored when it has confirmed what this process put back.
	StateLost, StateRestored func(StateLoss)
}

// ScriptCall is one call of the pool's script.
type ScriptCall struct {
	Asked      int // waiters that it asked for
	Admitted   int // of these
	Reports    int // that it carried
	RoundTrip  time.Duration
	Err        error // nil if there was a reply
	Muted      bool  // see scripts.PoolReply
	Unreadable int   // see scripts.PoolReply
	Refused    int   // see scripts.PoolReply
}

// StateLoss is a loss of writes by Redis.
type StateLoss struct {
	All      bool // the whole state is gone; otherwise the latest writes are
	Restored int  // reports by which this process puts back its part
}

// limitsChanged calls LimitsChanged for each change.
func (o *Observer) limitsChanged(all []LimitsChange) {
	for _, change := range all {
		if o.LimitsChanged != nil {
			o.LimitsChanged(change)
		}
	}
}

// failed calls the functions for a script call that failed. lost is what Redis has lost; nil: nothing.
func (o *Observer) failed(x *exchange, received time.Time, err error, lost *StateLoss) {
	if o.ScriptCalled != nil {
		its := x.described(received)
		its.Err = err
		o.ScriptCalled(its)
	}
	switch {
	case errors.Is(err, scripts.ErrLost):
		if o.StateLost != nil {
			o.StateLost(*lost)
		}
	case isLimits(err):
	case o.RedisFailed != nil:
		o.RedisFailed(err)
	}
}

// replied calls the functions for a script call that has a reply. recovered says that the one before failed; restored is
// what Redis had lost and has confirmed now; nil: nothing.
func (o *Observer) replied(x *exchange, received time.Time, reply *scripts.PoolReply, recovered bool, restored *StateLoss) {
	if o.ScriptCalled != nil {
		its := x.described(received)
		its.Admitted, its.Muted, its.Unreadable, its.Refused = len(reply.Grants), reply.Muted, reply.Unreadable, reply.Refused
		o.ScriptCalled(its)
	}
	if recovered && o.RedisRecovered != nil {
		o.RedisRecovered()
	}
	if restored != nil && o.StateRestored != nil {
		o.StateRestored(*restored)
	}
}

// described returns what is known of a script call without its reply.
func (x *exchange) described(received time.Time) ScriptCall {
	return ScriptCall{Asked: len(x.batch.waiters), Reports: len(x.call.Reports), RoundTrip: received.Sub(x.sent)}
}
