package caller

import "time"

// Hooks are functions that a Pool calls to report events. Each is optional. The Pool calls them from many goroutines at
// once and waits for them, so they must return quickly.
type Hooks struct {
	// Admitted is called when a call gets a key, capacity on its limits, and a permit.
	Admitted func(Admission)
	// Attempted is called when an attempt has ended.
	Attempted func(Attempt)
	// CooledDown is called when this process starts a cooldown of a key or account.
	CooledDown func(Block)
	// Disabled is called when this process disables a key or account.
	Disabled func(Block)
	// UsageRead is called when a response, or Grant.Settle, reports what a call cost.
	UsageRead func(Usage)
	// QuotaRead is called when a response reports what is left of the provider's limits.
	QuotaRead func(QuotaReport)
	// KeysFailed is called when WatchKeys could not load or use the keys.
	KeysFailed func(error)
	// CircuitOpened is called when failures open the circuit of a key and endpoint in this process.
	CircuitOpened func(Circuit)
	// LeaseLost is called when this process loses the permits of its calls in flight, with their number and the cause, which
	// is an ErrLeaseLost.
	LeaseLost func(n int, cause error)
	// RedisFailed is called when a call to Redis fails. It is tried again if that can help.
	RedisFailed func(error)
}

// Admission is the grant of a key to a call.
type Admission struct {
	Key     string // key ID
	Account string
	Waited  time.Duration // from the request for admission to the send time
}

// Attempt is an attempt that has ended.
type Attempt struct {
	Key      string // key ID; empty if the attempt got no key
	Account  string
	Number   int // from 1
	Verdict  Verdict
	Latency  time.Duration // from sending to the end of the response's headers
	Err      error         // nil for a response of any status
	Status   int           // HTTP status; 0: there is no response, or the status isn't known
	Retrying bool          // another attempt follows
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
