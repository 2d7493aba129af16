package caller_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// MaxWait bounds the wait for admission and not the attempt; Timeout takes the place of the configuration's.
func TestOptions_BoundTheWaitAndTheCall(t *testing.T) {
	t.Parallel()
	c := join(t, redistest.Client(t), concurrency(1))
	call := func(o caller.Options, f func(context.Context, *caller.Grant) (int, error)) error {
		_, err := caller.Do(caller.WithOptions(testkit.Context(t), o), c, nil, f)
		return err
	}
	end := hold(t, c)
	if err := call(caller.Options{MaxWait: 20 * time.Millisecond}, nop); !errors.Is(err, caller.ErrDeadline) {
		t.Errorf("got %v while the permit is held, want ErrDeadline", err)
	}
	end()
	slow := func(ctx context.Context, g *caller.Grant) (int, error) {
		if caller.GrantFrom(ctx) != g {
			t.Error("got another grant from the context, want the attempt's")
		}
		select {
		case <-time.After(2 * time.Second):
			return 0, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	if err := call(caller.Options{MaxWait: time.Second}, slow); err != nil {
		t.Errorf("got %v for an attempt longer than MaxWait, want success", err)
	}
	if err := call(caller.Options{Timeout: 50 * time.Millisecond, Idempotency: caller.IdempotencyNo}, slow); !errors.Is(err, caller.ErrTimeout) {
		t.Errorf("got %v for a call longer than its Timeout, want ErrTimeout", err)
	}
	for _, o := range []caller.Options{{MaxWait: -1}, {Timeout: -1}} {
		if err := call(o, nop); err == nil {
			t.Errorf("got no error for %+v, want one", o)
		}
	}
}
