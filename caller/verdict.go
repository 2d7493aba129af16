package caller

import (
	"net/http"
	"time"
)

// Outcome is what became of an attempt.
type Outcome int

// Outcomes.
const (
	// Success: the provider did what was asked.
	Success Outcome = iota
	// Throttled: a limit was exceeded. The key or account cools down; the call is tried again.
	Throttled
	// Overloaded: the provider has too much to do, for anybody. The call is tried again after a while.
	Overloaded
	// OutOfCredit: the account can't pay, or its spending limit is reached. It is disabled.
	OutOfCredit
	// Revoked: the provider doesn't accept the key. It is disabled.
	KeyRejected
	// Fault: the request itself is wrong. It is never tried again.
	ClientError
	// Transient: a failure that may pass: a broken connection, a 5xx. The call is tried again.
	Transient
	// Canceled: the call's own context ended.
	Canceled
	// Pending: the beginning of a 2xx body doesn't show yet whether the call succeeded. Profile.Judge returns it for a body
	// that is incomplete. A body that ends while it is Pending has no answer in it, and the attempt failed.
	Pending
)

// String returns the outcome's name, for metrics and messages.
func (o Outcome) String() string {
	names := [...]string{"success", "throttled", "overloaded", "out of credit", "revoked", "fault", "transient", "canceled", "pending"}
	if o < 0 || int(o) >= len(names) {
		return "unknown"
	}
	return names[o]
}

// Scope is what an outcome says something about.
type Scope int

// Scopes.
const (
	ScopeKey Scope = iota
	ScopeAccount
	ScopeProvider
)

// Verdict is what an answer means.
type Verdict struct {
	Outcome Outcome
	Scope   Scope
	// RetryAfter is the least time until the scope should be used again; 0 if the provider didn't say.
	RetryAfter time.Duration
	// Reason is the provider's own code or status, for people.
	Reason string
	// ModelOnly narrows ScopeAccount to the call's model: the account serves other models as before. For a call without a
	// model it has no effect. Defaults to false: the verdict applies to all models.
	ModelOnly bool
	// Elsewhere says, with ClientError, that another account may be able to serve the call. With ModelOnly, the account
	// never serves the model. Defaults to false: the request fails on every account.
	Elsewhere bool
}

// Profile says what a provider's requests and answers mean. Its functions do no I/O and are safe for concurrent use.
// Package provider has profiles.
type Profile struct {
	// Name is the provider's name, for messages.
	Name string
	// Authorize puts the secret where the provider wants it. Defaults to an Authorization header with a bearer token.
	Authorize func(r *http.Request, secret string)
	// Estimate says what a request will cost before it is made. body is the request's body, nil where there is none or
	// it can't be read twice. Defaults to one request.
	Estimate func(r *http.Request, body []byte) Cost
	// Model says which model a request is for, "" where none is named. body is as for Estimate. Limits and cooldowns by
	// model depend on it. Defaults to none.
	Model func(r *http.Request, body []byte) string
	// Judge says what an answer means. body is the beginning of its body, at most 64 KiB, without Content-Encoding. For a
	// status below 400 it is nil, which judges the status alone, or what has come so far of a JSON body or of a stream of
	// server-sent events, and the verdict may be Pending. Defaults to the meaning of the status code and Retry-After.
	Judge func(r *http.Response, body []byte) Verdict
	// Repeatable says whether sending the request twice does no more harm than its price, so that it may be tried again
	// after a failure that leaves open whether it was carried out. Defaults to net/http's rule: GET, HEAD, OPTIONS and
	// TRACE, and whatever has an Idempotency-Key or X-Idempotency-Key header.
	Idempotent func(r *http.Request) bool
	// Usage says what a call really cost. data is the body of an answer, or the data of one event of a streamed one
	// (server-sent events), or one element of an answer that is a list: JSON whose lists are emptied, and so are its
	// strings of more than 256 bytes. It must not be kept. What it doesn't tell is missing in the Cost, which is nil where
	// it tells nothing. A later event's figure for a metric replaces an earlier one's. Defaults to nothing: the estimate
	// stands.
	Usage func(data []byte) Cost
	// Settled are the metrics that the provider itself corrects to the real usage when a call is over, up or down. Theirs
	// is corrected likewise; for others the estimate stands, because it is what the provider counts: a refund that the
	// provider doesn't make ends in a 429. Defaults to none.
	Settled []Metric
	// Calibrated are the metrics whose estimate counts the prompt's tokens, guessed from the size of its text. From 16
	// answers of a model on, the Caller corrects that part of them by the ratio of the InputTokens that Usage tells to
	// those of Estimate, as it was of late, within 1/4 to 4; the rest, such as max_tokens, isn't touched. Metrics that
	// aren't Settled are corrected upward only, because the provider may count by its own guess. Where the provider
	// charges by the very rule of Estimate, a metric doesn't belong here. Defaults to none.
	Calibrated []Metric
	// ErrorBody is the body, in JSON, of an answer by which Transport itself tells of an error, in the shape of the
	// provider's own, so that its client libraries understand it. Defaults to OpenAI's shape.
	ErrorBody func(status int, code, message string) []byte
	// Quotas says what the answer's headers tell about limits; on answers of any status. Defaults to nothing.
	Quotas func(r *http.Response) []Quota
}

// Quota is what a provider says is left of one of its limits. It may include what others used.
type Quota struct {
	Metric Metric
	// Limit is the whole, and Per the time that it is for; 0 where the provider doesn't say.
	Limit  int64
	Period time.Duration
	// Remaining is what is left at the time of the answer.
	Remaining int64
	// Reset is the time until the limit is whole again, 0 where the provider doesn't say.
	Reset time.Duration
}
