package apisim

import (
	"fmt"
	"net/http"
)

// Failures are the shares, 0 to 1, of the admitted calls that meet each kind of failure. Their sum is at most 1.
type Failures struct {
	// Overloaded answers 503 at once.
	Overloaded float64 `yaml:"overloaded"`
	// Error answers 500 at once.
	Error float64 `yaml:"error"`
	// Reset serves the call, then resets the connection in place of the answer.
	Reset float64 `yaml:"reset"`
	// Cut serves the call, and resets the connection in the middle of the answer.
	Cut float64 `yaml:"cut"`
	// Hang never answers: it ends when the client gives up.
	Hang float64 `yaml:"hang"`
	// Stall serves the call, and sends nothing more from the middle of the answer on, until the client gives up.
	Stall float64 `yaml:"stall"`
	// Embedded answers 200 with an error in the body; a streamed answer has it as its first event.
	Embedded float64 `yaml:"embedded"`
	// Empty answers 200 with blank lines, as DeepSeek does under load.
	Empty float64 `yaml:"empty"`
	// Page answers 200 with a gateway's HTML page.
	Page float64 `yaml:"page"`
	// Blip answers 401 at once, with a body that doesn't name the key.
	Blip float64 `yaml:"blip"`
	// Busy answers 429 at once, without a wait.
	Busy float64 `yaml:"busy"`
}

// Kind is a kind of injected failure.
type Kind string

// The kinds of failure; see Failures.
const (
	Overloaded Kind = "overloaded"
	Error      Kind = "error"
	Reset      Kind = "reset"
	Cut        Kind = "cut"
	Hang       Kind = "hang"
	Stall      Kind = "stall"
	Embedded   Kind = "embedded"
	Empty      Kind = "empty"
	Page       Kind = "page"
	Blip       Kind = "blip"
	Busy       Kind = "busy"
)

// kinds are in the order in which fates are drawn. Append new kinds, so that seeds keep their meaning.
var kinds = [...]Kind{Overloaded, Error, Reset, Cut, Hang, Stall, Embedded, Empty, Page, Blip, Busy}

// rate returns the field of a kind, nil if there is none.
func (f *Failures) rate(k Kind) *float64 {
	fields := map[Kind]*float64{
		Overloaded: &f.Overloaded, Error: &f.Error, Reset: &f.Reset, Cut: &f.Cut, Hang: &f.Hang, Stall: &f.Stall,
		Embedded: &f.Embedded, Empty: &f.Empty, Page: &f.Page, Blip: &f.Blip, Busy: &f.Busy,
	}
	return fields[k]
}

func (f Failures) validate() error {
	sum := 0.0
	for _, k := range kinds {
		rate := *f.rate(k)
		if !(rate >= 0 && rate <= 1) { // false for NaN
			return fmt.Errorf("apisim: failure rate %v of %q: must be from 0 to 1", rate, k)
		}
		sum += rate
	}
	if sum > 1 {
		return fmt.Errorf("apisim: failure rates sum up to %v, more than 1", sum)
	}
	return nil
}

// status is the HTTP status of a failure that is answered at once; 0 for the others.
func (k Kind) status() int {
	switch k {
	case Overloaded:
		return http.StatusServiceUnavailable
	case Error:
		return http.StatusInternalServerError
	case Blip:
		return http.StatusUnauthorized
	case Busy:
		return http.StatusTooManyRequests
	}
	return 0
}

// injected is the error of a failure that is answered.
func injected(k Kind) apiError {
	switch k {
	case Overloaded, Embedded:
		return apiError{Message: "The engine is currently overloaded, please try again later.", Type: "overloaded"}
	case Blip:
		return apiError{Message: "Unauthorized", Type: "server_error"}
	case Busy:
		return apiError{Message: "Rate limit exceeded", Type: "rate_limited", Code: new("rate_limit_exceeded")}
	}
	return apiError{Message: "The server had an error while processing your request.", Type: "server_error"}
}
