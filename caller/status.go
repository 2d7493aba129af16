package caller

import (
	"errors"
	"net/http"
)

// reasons has the status and the short name of each error by which a pool ends a call, in the order of precedence.
var reasons = []struct {
	err    error
	status int
	reason string
}{
	{ErrNeverFits, http.StatusRequestEntityTooLarge, "never_fits"},
	{errNegativeCost, http.StatusBadRequest, "bad_cost"},
	{ErrNoModel, http.StatusNotFound, "no_model"},
	{ErrNoKeys, http.StatusServiceUnavailable, "no_keys"},
	{ErrQueueFull, http.StatusServiceUnavailable, "queue_full"},
	{ErrCircuitOpen, http.StatusServiceUnavailable, "circuit_open"},
	{ErrClosed, http.StatusServiceUnavailable, "closed"},
}

// Status returns the HTTP status that fits the error, and the reason in one word. Transport and the gateway answer by it.
//
//	| status | reason | the call ended because |
//	|---|---|---|
//	| 400 | bad_cost | its cost is negative |
//	| 400 | bad_request | its options are invalid, or its request's body can't be read |
//	| 404 | no_model | no account has the model |
//	| 413 | never_fits | it costs more than a limit ever allows |
//	| 429 | deadline | no limit, permit or cooldown admits it before its deadline |
//	| 502 | no_answer | attempts were made, and none had a response |
//	| 503 | no_keys | every key is disabled |
//	| 503 | queue_full | Tuning.MaxWaiting calls wait |
//	| 503 | circuit_open | the circuit of its endpoint is open |
//	| 503 | closed | the pool is closed |
//	| 503 | unavailable | Redis can't be reached, or its calls fail |
//	| 504 | timeout | its time, or that of its last attempt, was up after it had been sent or while it waited for Redis |
func (e *Error) Status() (status int, reason string) {
	for _, known := range reasons {
		if errors.Is(e, known.err) {
			return known.status, known.reason
		}
	}
	switch sent := e.Outcome != Success; {
	case errors.Is(e, ErrDeadline) && (!sent || e.Metric != "" || e.Outcome == Throttled):
		return http.StatusTooManyRequests, "deadline"
	case e.Timeout():
		return http.StatusGatewayTimeout, "timeout"
	case isInvalid(e):
		return http.StatusBadRequest, "bad_request"
	case !sent:
		return http.StatusServiceUnavailable, "unavailable"
	}
	return http.StatusBadGateway, "no_answer"
}

// bodyError is a failure to read a request's body before the call.
type bodyError struct{ err error }

// Error returns the failure.
func (e *bodyError) Error() string { return "read the request's body: " + e.err.Error() }

// Unwrap returns the failure.
func (e *bodyError) Unwrap() error { return e.err }

// isInvalid reports whether a call ended because it can't be made as it is.
func isInvalid(err error) bool {
	_, body := errors.AsType[*bodyError](err)
	_, options := errors.AsType[*optionsError](err)
	return body || options
}
