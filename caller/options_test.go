package caller_test

import (
	"context"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/retry"
)

// WithOptions replaces the options of a context, and OptionsFrom returns them.
func TestOptions_TravelInTheContext(t *testing.T) {
	t.Parallel()
	if got := caller.OptionsFrom(t.Context()); got != (caller.Options{}) {
		t.Errorf("got %+v without options, want the zero Options", got)
	}
	want := caller.Options{Model: "m", Priority: caller.PriorityLow, Idempotency: caller.IdempotencyNo}
	ctx := caller.WithOptions(caller.WithOptions(t.Context(), caller.Options{Affinity: "gone"}), want)
	if got := caller.OptionsFrom(ctx); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A call with options out of range isn't made, and the error names the field.
func TestOptions_OutOfRangeAreRefused(t *testing.T) {
	c := lone(t, redistest.Client(t))
	for field, o := range map[string]caller.Options{
		"Priority":       {Priority: 2},
		"Idempotency":    {Idempotency: -1},
		"AttemptTimeout": {AttemptTimeout: -1},
	} {
		_, err := caller.Do(caller.WithOptions(t.Context(), o), c, nil, func(context.Context, *caller.Grant) (int, error) {
			t.Errorf("%s: got a call, want none", field)
			return 0, nil
		})
		if err == nil || !strings.Contains(err.Error(), "Options."+field) {
			t.Errorf("%s: got %v, want an error that names the field", field, err)
		}
	}
}

// AttemptFrom returns the attempt's number in contexts derived from the attempt's, and 0 outside.
func TestAttemptFrom_ReturnsTheAttemptsNumber(t *testing.T) {
	c := lone(t, redistest.Client(t))
	var seen []int
	_, err := caller.Do(t.Context(), c, nil, func(ctx context.Context, g *caller.Grant) (int, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		seen = append(seen, caller.AttemptFrom(ctx))
		if g.Attempt < 3 {
			return 0, retry.Immediately(context.Canceled)
		}
		return 0, nil
	})
	if err != nil || len(seen) != 3 || seen[0] != 1 || seen[2] != 3 {
		t.Errorf("got the attempts %v, %v, want 1, 2, 3 and success", seen, err)
	}
	if n := caller.AttemptFrom(t.Context()); n != 0 {
		t.Errorf("outside of a call: got attempt %d, want 0", n)
	}
}

// lone is a pool of one key without limits.
func lone(t *testing.T, rdb *redis.Client, change ...func(*caller.Config)) *caller.Pool {
	t.Helper()
	cfg := caller.Config{Name: "lone", Keys: []caller.Key{{ID: "k", Secret: caller.NewSecret("the-secret")}}}
	for _, f := range change {
		f(&cfg)
	}
	c, err := caller.New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}
