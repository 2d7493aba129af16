package caller

import (
	"context"
	"time"
)

// Hooks are functions that a Pool calls to report events. Each is optional. The Pool calls them from many goroutines at
// once and waits for them, so they must return quickly. JoinHooks makes one Hooks of several.
//
// The context is that of the call that the event belongs to. An event that belongs to no call, such as a script call for
// many calls, has a context that carries nothing and doesn't end.
//
//	a call                 CallStarted, then Refused or its attempts, then CallEnded
//	an attempt             Admitted, AttemptStarted, Released and Attempted in either order
//	what an attempt shows  CooledDown, Disabled, UsageRead, QuotaRead, CircuitOpened
//	the pool               Opened, Closed, KeysFailed, LeaseLost
//	Redis                  ScriptCalled, RedisFailed, RedisRecovered, StateLost, StateRestored
type Hooks struct {
	// Opened is called by New with the new Pool.
	Opened func(context.Context, *Pool)
	// Closed is called at the end of each Close with the Pool, whose Stats go on.
	Closed func(context.Context, *Pool)

	// CallStarted is called when a call begins. The call goes on with the context that it returns, which must be derived
	// from the given one.
	CallStarted func(context.Context, CallStart) context.Context
	// Refused is called when a call ends because it got no key: it never fits, its deadline is too early, no key is in use,
	// too many calls wait, or its context ended first.
	Refused func(context.Context, Refusal)
	// CallEnded is called when a call has its result. The body of a response may still be read.
	CallEnded func(context.Context, CallEnd)

	// Admitted is called when a call gets a key, capacity on its limits, and a permit.
	Admitted func(context.Context, Admission)
	// AttemptStarted is called before an attempt is sent. The attempt goes on with the context that it returns, which must be
	// derived from the given one.
	AttemptStarted func(context.Context, AttemptStart) context.Context
	// Attempted is called when an attempt has its result. Its context is the one that AttemptStarted returned.
	Attempted func(context.Context, Attempt)
	// Released is called when an attempt's permit is released: at the end of Do's function, or of a response's body. Its
	// context is the one that AttemptStarted returned.
	Released func(context.Context, Release)

	// CooledDown is called when this process starts a cooldown of a key or account.
	CooledDown func(context.Context, Block)
	// Disabled is called when this process disables a key or account.
	Disabled func(context.Context, Block)
	// UsageRead is called when a response, or Grant.Settle, reports what a call cost.
	UsageRead func(context.Context, Usage)
	// QuotaRead is called when a response reports what is left of the provider's limits.
	QuotaRead func(context.Context, QuotaReport)
	// CircuitOpened is called when failures open the circuit of a key and endpoint in this process.
	CircuitOpened func(context.Context, Circuit)

	// KeysFailed is called when WatchKeys could not load or use the keys.
	KeysFailed func(context.Context, error)
	// LeaseLost is called when this process loses the permits of its calls in flight, with their number and the cause, which
	// is an ErrLeaseLost.
	LeaseLost func(ctx context.Context, n int, cause error)

	// ScriptCalled is called after every script call.
	ScriptCalled func(context.Context, ScriptCall)
	// RedisFailed is called when a script call fails. It is tried again if that can help.
	RedisFailed func(context.Context, error)
	// RedisRecovered is called when a script call succeeds after RedisFailed.
	RedisRecovered func(context.Context)
	// LimitsChanged is called when this process has adopted limits that SetLimits set.
	LimitsChanged func(context.Context, LimitsChange)
	// StateLost is called when this process finds that Redis has lost writes, after a flush or a failover.
	StateLost func(context.Context, StateLoss)
	// StateRestored is called when Redis has confirmed this process's part of what it had lost.
	StateRestored func(context.Context, StateLoss)
}

// CallStart is a call that begins.
type CallStart struct {
	Model    string // empty: not known
	Priority Priority
	Cost     Cost // as estimated; it must not be changed
}

// CallEnd is a call that has ended.
type CallEnd struct {
	Model    string // empty: not known
	Priority Priority
	Key      string // key ID of the last attempt; empty: there was none
	Account  string
	Attempts int // attempts made; a second request of a hedge isn't counted
	Outcome  Outcome
	Refused  RefusalReason // NotRefused: the last attempt got a key
	Latency  time.Duration // from the call's beginning, waits included
	Err      error         // the *Error; nil: success
}

// Refusal is a call that ended because it got no key.
type Refusal struct {
	Reason     RefusalReason
	Model      string // empty: not known
	Priority   Priority
	Attempts   int           // attempts made before
	Waited     time.Duration // from the last request for admission
	WaitedFor  Waits         // the parts of Waited
	Metric     Metric        // of the limit in the way; empty: no limit is
	Limit      int64         // of that metric, in units
	Cost       int64         // the call's, in units of that metric
	RetryAfter time.Duration // until a retry can help; 0: not known
	Err        error         // the *Error
	Shadow     bool          // the call went on: see Config.Shadow. Attempts counts this one
}

// Admission is the grant of a key to a call.
type Admission struct {
	Key       string // key ID
	Account   string
	Model     string // empty: not known
	Priority  Priority
	Attempt   int           // from 1
	Waited    time.Duration // from the request for admission to the send time
	WaitedFor Waits         // the parts of Waited
	Shadow    bool          // the call was sent before, and didn't wait: see Config.Shadow
}

// Waits is for how long a call waited for each thing. The four durations add up to the whole wait.
type Waits struct {
	Rate     time.Duration // for capacity on a limit
	Permit   time.Duration // for the end of another call
	Cooldown time.Duration // for the end of the cooldown of every key
	Redis    time.Duration // for replies of Redis
	Metric   Metric        // of the limit that Rate was spent on last; empty: no limit is known
}

// AttemptStart is an attempt that is about to be sent.
type AttemptStart struct {
	Key     string // key ID
	Account string
	Model   string // empty: not known
	Number  int    // from 1
}

// Attempt is an attempt that has ended.
type Attempt struct {
	Key      string // key ID
	Account  string
	Model    string // empty: not known
	Priority Priority
	Number   int // from 1
	Verdict  Verdict
	Latency  time.Duration // from sending to the end of the response's headers
	Err      error         // nil for a response of any status
	Status   int           // HTTP status, or that of a gRPC status by google.rpc.Code; 0: not known
	Retrying bool          // another attempt follows
	// Method and Host are those of the request that Transport sent; the host has its port unless that is 443. Empty for Do.
	Method, Host string
}

// Release is the end of an attempt's permit.
type Release struct {
	Key     string // key ID
	Account string
	Model   string        // empty: not known
	Held    time.Duration // from sending
}

// Block is a time in which no process of the pool uses a key or account.
type Block struct {
	Key     string // key ID; empty: the whole account
	Account string
	For     time.Duration // from now; for a disabled key or account, until it is tried again
	Reason  string

	name string // of the key in admission
}

// Usage is what a call cost.
type Usage struct {
	Key       string // key ID
	Account   string
	Model     string // empty: not known
	Estimated Cost   // charged before the call, for each metric that a limit counts
	Actual    Cost   // reported by the response, of any metric
	Settled   Cost   // charged in addition now, or refunded if negative; nil: nothing
	// Partial says that the response was cut, or given up before its end. Actual is then in part an estimate, from the text
	// that was read.
	Partial bool
	// ByLength says that Estimated is the length of a request whose body is longer than TransportConfig.MaxBuffered.
	ByLength bool
	// Ratio is the factor of the prompt's part in the next estimates for the model (see Profile.Calibrated). Defaults to 1.
	Ratio float64
}

// QuotaReport is what a response says is left of the provider's limits.
type QuotaReport struct {
	Key     string // key ID
	Account string
	Model   string // empty: not known
	Quotas  []Quota
}

// Circuit is an open circuit of the circuit breaker.
type Circuit struct {
	Key      string // key ID
	Endpoint string // host and path; empty for calls of Do
	For      time.Duration
}

// ScriptCall is one call of the pool's script.
type ScriptCall struct {
	Asked      int           // waiting calls that it asked for
	Admitted   int           // of these
	Reports    int           // cooldowns, settlements and the like that it carried
	RoundTrip  time.Duration // from sending to the reply, or until the call was given up
	Err        error         // nil if there was a reply
	Muted      bool          // the ACL forbids PUBLISH: other processes notice released permits by polling only
	Unreadable int           // fields of the pool's state that Redis could not read, and dropped
	Refused    int           // settlements that Redis refused because they can't be true
}

// StateLoss is a loss of writes by Redis.
type StateLoss struct {
	All      bool // the whole state is gone; otherwise the latest writes are
	Restored int  // cooldowns, bookings and counts that this process puts back
}
