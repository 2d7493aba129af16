package caller

import (
	"net/http"
	"time"
)

// Profile describes a provider's requests and responses. Its functions do no I/O and are safe for concurrent use. Package
// provider has profiles.
type Profile struct {
	// Name is the provider's name, for messages. Defaults to "http".
	Name string
	// Authorize adds the secret to a request. Defaults to an Authorization header with a bearer token.
	Authorize func(r *http.Request, secret string)
	// Estimate returns what a request will cost. body is the request's body, or nil if there is none or it can be read only
	// once. Defaults to one request.
	Estimate func(r *http.Request, body []byte) Cost
	// Model returns the model that a request is for, or "" if it names none. Limits and cooldowns by model depend on it.
	// body is as for Estimate. Defaults to "".
	Model func(r *http.Request, body []byte) string
	// Judge returns the meaning of a response. body is the beginning of its body, at most 64 KiB, without Content-Encoding.
	// For a status below 400 it is nil, which judges the status alone, or what has come so far of a JSON body or of a stream
	// of server-sent events; the verdict may then be Pending. Defaults to JudgeStatus.
	Judge func(r *http.Response, body []byte) Verdict
	// Idempotent reports whether sending the request twice has no further effect than its price. Such a request is tried
	// again after a failure that leaves open whether it was carried out. Defaults to IsIdempotent.
	Idempotent func(r *http.Request) bool
	// Usage returns what a call cost, or nil if data doesn't say; metrics that data doesn't say are missing. data is a
	// response's body, the data of one server-sent event, or one element of a list: JSON in which lists and strings of more
	// than 256 bytes are empty. It is valid until Usage returns. A later event's figure for a metric replaces an earlier
	// one. Defaults to nil: the estimate stands.
	Usage func(data []byte) Cost
	// Settled are the metrics that the provider corrects to the real usage at the end of a call, up or down. The pool
	// corrects them likewise. For other metrics the estimate stands, because the provider counts it: a refund that the
	// provider doesn't make leads to a 429. Defaults to none.
	Settled []Metric
	// Calibrated are the metrics whose estimate includes the prompt's tokens, guessed from the size of its text. From 16
	// responses of a model on, the prompt's part of the estimate is multiplied by the recent ratio of the InputTokens of
	// Usage to those of Estimate, within 1/4 to 4. The rest, such as max_tokens, stays. Metrics that aren't Settled are
	// corrected upward only, because the provider may count by a guess of its own. Leave out a metric that the provider
	// charges by the rule of Estimate. Defaults to none.
	Calibrated []Metric
	// ErrorBody returns the JSON body of a response by which Transport reports an error, in the shape of the provider's
	// errors, so that its client libraries can read it. Defaults to OpenAI's shape.
	ErrorBody func(status int, code, message string) []byte
	// Quotas returns what a response's headers say is left of the provider's limits. It is called for every status.
	// Defaults to nothing.
	Quotas func(r *http.Response) []Quota
}

// withDefaults returns the profile with the rules of HTTP where it has none.
func (p Profile) withDefaults() Profile {
	if p.Name == "" {
		p.Name = "http"
	}
	if p.Authorize == nil {
		p.Authorize = func(r *http.Request, secret string) { r.Header.Set("Authorization", "Bearer "+secret) }
	}
	if p.Estimate == nil {
		p.Estimate = func(*http.Request, []byte) Cost { return nil }
	}
	if p.Model == nil {
		p.Model = func(*http.Request, []byte) string { return "" }
	}
	if p.Judge == nil {
		p.Judge = JudgeStatus
	}
	if p.ErrorBody == nil {
		p.ErrorBody = ErrorBody
	}
	if p.Idempotent == nil {
		p.Idempotent = IsIdempotent
	}
	return p
}

// Quota is what a provider says is left of one of its limits. The use of other clients may be included.
type Quota struct {
	Metric Metric
	// Limit is the whole limit, in units. Defaults to 0: the provider doesn't say.
	Limit int64
	// Period is the time that the limit is for. Defaults to 0: the provider doesn't say.
	Period time.Duration
	// Remaining is the rest at the time of the response, in units.
	Remaining int64
	// Reset is the time until the whole limit is there again. Defaults to 0: the provider doesn't say.
	Reset time.Duration
}
