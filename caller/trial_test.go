package caller

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/scripts"
)

type revoked struct{ error }

func (revoked) Verdict() Verdict {
	return Verdict{Outcome: KeyRejected, Scope: ScopeKey, Reason: "revoked"}
}

// Two processes, and a key whose time has come: one call tries, the others hear that it is disabled; when the try has
// failed, everybody waits for the next; when one succeeds, the key is everybody's.
func TestTrial_IsOneCallOfTwoProcesses(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	callers := make([]*Pool, 2)
	for i := range callers {
		c, err := New(redistest.Another(t, rdb), Config{Name: "p", Keys: accountsNamed("k")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { leave(c) })
		callers[i] = c
	}
	due := func() { // it was disabled, and now it is time to try
		if err := rdb.HSet(t.Context(), scripts.PoolKey("p"), scripts.KeyBlock("k"), "1 off revoked").Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, outcome := range []error{revoked{errors.New("no")}, nil} {
		due()
		tries := 0
		_, err := Do(t.Context(), callers[0], nil, func(context.Context, *Grant) (int, error) {
			tries++
			for range 5 {
				if _, err := Do(t.Context(), callers[1], nil, nothing); !errors.Is(err, ErrNoKeys) {
					t.Errorf("got %v during the trial, want ErrNoKeys", err)
				}
			}
			return 0, outcome
		})
		if tries != 1 || (err == nil) != (outcome == nil) {
			t.Errorf("got %d trials that end with %v: %v, want one", tries, outcome, err)
		}
		if outcome != nil {
			if _, err := Do(t.Context(), callers[1], nil, nothing); !errors.Is(err, ErrNoKeys) {
				t.Errorf("got %v after the trial failed, want ErrNoKeys", err)
			}
		}
	}
	for end := time.Now().Add(20 * time.Second); ; { // Redis gets the result soon
		_, err := Do(t.Context(), callers[1], nil, nothing)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrNoKeys) || time.Now().After(end) {
			t.Fatalf("got %v after the trial succeeded, want success", err)
		}
	}
}
