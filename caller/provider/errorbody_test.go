package provider

import (
	"testing"

	"github.com/penstock/penstock/caller"
)

// What a profile writes as an error reads as one to itself, and quotes what it is given.
func TestErrorBodies(t *testing.T) {
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
			t.Errorf("%s: %s", name, body)
		}
		if v := p.Judge(recorded{status: 429}.response(t), body); v.Outcome != caller.Throttled {
			t.Errorf("%s: its own 429 means %v", name, v.Outcome)
		}
	}
}
