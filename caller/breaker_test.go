package caller_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
)

// failing is a function for Do that fails with the keys in bad, and counts the attempts with each key.
type failing struct {
	mu   sync.Mutex
	bad  map[string]bool
	made map[string]int
}

func (f *failing) call(_ context.Context, g *caller.Grant) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made[g.Key]++
	if f.bad[g.Key] {
		return 0, io.ErrUnexpectedEOF
	}
	return 0, nil
}

// A key whose circuit is open gets no calls: they go to the other key, without a wait.
func TestBreaker_SendsCallsToAnotherKey(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	var opened []caller.Circuit
	c := join(t, rdb, quick, keys(key("a"), key("b")), func(cfg *caller.Config) {
		cfg.Breaker = caller.Breaker{FailureThreshold: 2, OpenFor: time.Hour}
		cfg.Hooks.CircuitOpened = func(_ context.Context, c caller.Circuit) { opened = append(opened, c) }
	})
	f := &failing{bad: map[string]bool{"a": true}, made: map[string]int{}}
	for range 20 {
		if _, err := caller.Do(t.Context(), c, nil, f.call); err != nil {
			t.Fatal(err)
		}
	}
	if f.made["a"] != 2 || f.made["b"] != 20 {
		t.Errorf("got the attempts by key %v, want 2 with a and 20 with b", f.made)
	}
	if len(opened) != 1 || opened[0].Key != "a" || opened[0].For != time.Hour {
		t.Errorf("got the circuits %v opened, want that of a for an hour", opened)
	}
	if n := c.Stats().CallsInFlight; n != 0 {
		t.Errorf("got %d calls in flight, want 0", n)
	}
}

// If every circuit is open, calls fail at once, and Error.RetryAfter is the time until one call tries again.
func TestBreaker_FailsAtOnceWithoutAnotherKey(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, quick, func(cfg *caller.Config) {
		cfg.Retry.Attempts = 1
		cfg.Breaker = caller.Breaker{FailureThreshold: 2, OpenFor: time.Hour}
	})
	f := &failing{bad: map[string]bool{"k": true}, made: map[string]int{}}
	var err error
	for range 5 {
		_, err = caller.Do(t.Context(), c, nil, f.call)
	}
	var e *caller.Error
	if !errors.Is(err, caller.ErrCircuitOpen) || !errors.As(err, &e) || e.RetryAfter < 50*time.Minute || f.made["k"] != 2 {
		t.Errorf("got %v after %d attempts, want ErrCircuitOpen for most of an hour after 2", err, f.made["k"])
	}
	// Another endpoint has another circuit.
	res, err := c.Transport(tripper(func(r *http.Request) (*http.Response, error) { return ok(r), nil }), caller.TransportConfig{}).
		RoundTrip(request(t, t.Context(), http.MethodGet))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

// A call waits for the trials of an open circuit. The first one that succeeds closes the circuit.
func TestBreaker_ClosesAfterASuccessfulTrial(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, quick, func(cfg *caller.Config) {
		cfg.Breaker = caller.Breaker{FailureThreshold: 1, OpenFor: 10 * time.Millisecond}
		cfg.Retry.Attempts = 100
	})
	n := 0
	_, err := caller.Do(t.Context(), c, nil, func(context.Context, *caller.Grant) (int, error) {
		if n++; n < 4 { // opens it, and two trials fail
			return 0, io.ErrUnexpectedEOF
		}
		return 0, nil
	})
	if err != nil || n != 4 {
		t.Errorf("got %v after %d attempts, want success at the fourth", err, n)
	}
	if _, err := caller.Do(t.Context(), c, nil, nop); err != nil {
		t.Errorf("got %v after the circuit closed, want success", err)
	}
}
