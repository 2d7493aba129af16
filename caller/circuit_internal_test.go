package caller

import (
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"
)

func TestCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCircuits(Breaker{FailureThreshold: 3})
		name := circuitName{"k", "e"}
		for _, o := range []Outcome{Transient, Overloaded, Success, Transient, Transient, Canceled} {
			if !c.enter(name) || c.leave(name, o) {
				t.Fatalf("opened before three failures in a row, by %v", o)
			}
		}
		if !c.enter(name) || !c.leave(name, Transient) || c.enter(name) || c.wait(name) != DefaultOpenFor {
			t.Fatal("three failures in a row didn't open it")
		}
		time.Sleep(DefaultOpenFor)
		if !c.enter(name) || c.enter(name) {
			t.Fatal("one trial, and only one")
		}
		c.leave(name, Canceled)
		if !c.enter(name) || c.enter(name) {
			t.Fatal("another trial after one that says nothing")
		}
		if !c.leave(name, Transient) || c.enter(name) {
			t.Fatal("a trial that failed must open it again")
		}
		time.Sleep(DefaultOpenFor)
		if !c.enter(name) {
			t.Fatal("a trial")
		}
		time.Sleep(DefaultOpenFor) // it is never heard of
		if !c.enter(name) {
			t.Fatal("another trial after one that got lost")
		}
		c.leave(name, ClientError) // the endpoint answers
		for range 2 {
			if !c.enter(name) || !c.quiet() {
				t.Fatal("closed, as new")
			}
		}
	})
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/v1/chat/completions":        "h/v1/chat/completions",
		"/v1beta/models/gemini-2.5:x": "h/v1beta/models/*",
		"/v1/batches/batch_abc123":    "h/v1/batches/*",
		"/repos/o/r/issues/42":        "h/repos/o/r/issues/*",
		"":                            "h",
	} {
		if got := endpoint(&http.Request{URL: &url.URL{Host: "h", Path: path}}); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
