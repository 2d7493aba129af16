package provider

import (
	"testing"

	"github.com/penstock/penstock/caller"
)

// A profile judges its own error body as an error, and keeps the message.
func TestErrorBody_ReadsAsAnErrorToItsProfile(t *testing.T) {
	t.Parallel()
	for _, name := range Names() {
		p, err := ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.ErrorBody == nil {
			continue
		}
		body := p.ErrorBody(429, "deadline", `pool "p": too late`)
		if got := readFailure(body).message; got != `pool "p": too late` {
			t.Errorf("%s: got %s, want the message in it", name, body)
		}
		if v := p.Judge(recorded{status: 429}.response(t), body); v.Outcome != caller.Throttled {
			t.Errorf("%s: got %v for its own 429, want throttled", name, v.Outcome)
		}
	}
}
