package batch_test

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/penstock/penstock/caller/batch"
)

// The hooks see each call's beginning and end, with its error, and each error in place of an input.
func TestHooks_SeeCallsAndRejectedInputs(t *testing.T) {
	t.Parallel()
	bad, failed := errors.New("bad input"), errors.New("failed")
	var inputs iter.Seq2[int, error] = func(yield func(int, error) bool) {
		_ = yield(1, nil) && yield(0, bad) && yield(2, nil)
	}
	var started, succeeded, failures, rejected atomic.Int64
	hooks := batch.Hooks{
		CallStarted: func(context.Context) { started.Add(1) },
		CallEnded: func(_ context.Context, c batch.CallEnd) {
			if errors.Is(c.Err, failed) {
				failures.Add(1)
			} else if c.Err == nil {
				succeeded.Add(1)
			}
		},
		InputRejected: func(_ context.Context, err error) {
			if errors.Is(err, bad) {
				rejected.Add(1)
			}
		},
	}
	call := func(_ context.Context, in int) (int, error) {
		if in == 2 {
			return 0, failed
		}
		return in, nil
	}
	err := batch.Run(t.Context(), inputs, call, func(batch.Result[int, int]) error { return nil }, batch.Options{Hooks: hooks})
	if err != nil || started.Load() != 2 || succeeded.Load() != 1 || failures.Load() != 1 || rejected.Load() != 1 {
		t.Errorf("got %d started, %d succeeded, %d failed, %d rejected, error %v, want 2, 1, 1, 1, none",
			started.Load(), succeeded.Load(), failures.Load(), rejected.Load(), err)
	}
}
