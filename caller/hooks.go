package caller

import "time"

// Hooks observe what a Caller does. Each is optional, is called synchronously on the goroutine concerned, from many
// goroutines at once, and must return quickly.
type Hooks struct {
	// Admitted is called when a call gets a key, its limits and a permit.
	Admitted func(Admission)
	// Attempted is called when an attempt has ended.
	Attempted func(Attempt)
	// CooledDown is called when this process puts a key or account on a cooldown.
	CooledDown func(Block)
	// Disabled is called when this process disables a key or account.
	Disabled func(Block)
	// Used is called when an answer, or Grant.Settle, has told what a call really cost.
	UsageRead func(Usage)
	// Observed is called when an answer tells what is left of the provider's limits.
	QuotaRead func(QuotaReport)
	// KeysFailed is called when WatchKeys couldn't load or use the keys.
	KeysFailed func(error)
	// CircuitOpened is called when a key's failures open the circuit of an endpoint in this process.
	CircuitOpened func(Circuit)
	// LeaseLost is called when the permits of this process's calls in flight are lost (see ErrLeaseLost), with how many
	// calls those are.
	LeaseLost func(calls int)
	// RedisFailed is called when a call to Redis fails. It is tried again where that can help.
	RedisFailed func(error)
}

// Admission is one grant.
type Admission struct {
	Key     string // key ID
	Account string
	Waited  time.Duration // from the request for admission to the call's slot
}

// Attempt is one attempt of a call, ended.
type Attempt struct {
	Key      string // key ID; empty where no key was granted
	Account  string
	Number   int // from 1
	Verdict  Verdict
	Latency  time.Duration // from sending to the end of the answer's headers
	Err      error         // nil for an answer of any status
	Status   int           // HTTP status; 0 where there was no answer, or it isn't known
	Retrying bool          // another attempt follows
}

// Cooldown is a stretch of time in which a key or account isn't used, by any process of the pool.
type Block struct {
	Key     string // key ID; empty where the whole account is meant
	Account string
	For     time.Duration // from now; of what is disabled, until it is tried again
	Reason  string
}

// Usage is what a call really cost.
type Usage struct {
	Key       string // key ID
	Account   string
	Model     string // empty where none is known
	Estimated Cost   // what was charged before the call, of each metric that a limit counts
	Actual    Cost   // what the answer told, of any metric
	Settled   Cost   // what is charged in addition now, or given back where negative; nil for nothing
	// Ratio is what the prompt's part of further estimates for the model is multiplied by (see Profile.Calibrated); 1
	// where nothing is, or nothing yet.
	Ratio float64
}

// Observation is what the provider says is left of its limits.
type QuotaReport struct {
	Key     string // key ID
	Account string
	Model   string // empty where none is known
	Quotas  []Quota
}

// Circuit is what the circuit breaker of this process keeps calls from.
type Circuit struct {
	Key      string // key ID
	Endpoint string // host and path; empty for calls of Do
	For      time.Duration
}
