package gateway

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/penstock/penstock/caller"
)

// Headers of refusals. The first is by which client libraries decide on a retry.
const (
	headerShouldRetry = "X-Should-Retry"
	headerError       = "Penstock-Error"
)

// refusal is a request that the gateway doesn't pass on, or that has no answer of the provider.
type refusal struct {
	status     int
	code       string // the reason in one word
	text       string
	retryAfter time.Duration // 0: a longer wait in the queue could help, or nothing can
	end        bool          // the connection can't be used again
}

func badRequest(text string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: "bad_request", text: text}
}

func tooLarge(most int64) *refusal {
	return &refusal{
		status: http.StatusRequestEntityTooLarge, code: "body_too_large", end: true,
		text: fmt.Sprintf("the body is longer than %d bytes: send less", most),
	}
}

// refuse writes the refusal in the shape of the provider's errors.
func (x *exchange) refuse(w http.ResponseWriter, f *refusal) {
	key, waited, attempts := x.outcome(false)
	secrets := x.seenSecrets()
	x.event.Refused = f.code
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set(headerShouldRetry, "false")
	h.Set(headerError, f.code)
	if f.retryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(f.retryAfter.Seconds())), 10))
	}
	if f.end {
		h.Set("Connection", "close")
	}
	if x.route != nil {
		setOutcome(h, key, waited, attempts)
	}
	body := x.profile().ErrorBody(f.status, f.code, mask(f.text, secrets))
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(f.status)
	_, _ = w.Write(body)
}

// setOutcome sets what an answer says of its call.
func setOutcome(h http.Header, key string, waited time.Duration, attempts int) {
	if key != "" {
		h.Set(headerKey, key)
	}
	h.Set(headerWaited, waited.Round(time.Millisecond).String())
	h.Set(headerAttempts, strconv.Itoa(attempts))
}

// profile returns the profile that shapes the errors of the request.
func (x *exchange) profile() *caller.Profile {
	r := x.route
	if r == nil {
		r = x.gateway.forPath(x.in.URL.Path)
	}
	return &r.to.Profile
}

// failed returns the refusal for the error of a call. canWait says that the client could let the call wait for longer.
func failed(err error, canWait bool) *refusal {
	e, ok := errors.AsType[*caller.Error](err)
	if !ok {
		return &refusal{status: http.StatusBadGateway, code: "no_answer", text: "the provider gave no answer"}
	}
	f := &refusal{text: e.Error(), retryAfter: e.RetryAfter}
	f.status, f.code = e.Status()
	switch {
	case f.code == "deadline" && canWait:
		f.retryAfter = 0
		f.text += "; raise " + headerWait + " or " + headerTimeout
	case f.code == "queue_full" && f.retryAfter == 0:
		f.retryAfter = time.Second
	}
	return f
}
