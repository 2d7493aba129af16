package singleflight

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

type ctxKey struct{}

// Callers of one name share one run and its result. The run has the values of the first caller's context.
func TestDo_RunsOnceForConcurrentCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		var runs atomic.Int64
		end := make(chan struct{})
		f := func(ctx context.Context) (string, error) {
			runs.Add(1)
			<-end
			value, _ := ctx.Value(ctxKey{}).(string)
			return value, nil
		}
		var wg sync.WaitGroup
		for i := range 8 {
			ctx := context.WithValue(t.Context(), ctxKey{}, map[bool]string{true: "first", false: "other"}[i == 0])
			wg.Go(func() {
				if got, err := Do(ctx, &g, "a", f); got != "first" || err != nil {
					t.Errorf("got %q, %v, want the first caller's value", got, err)
				}
			})
			synctest.Wait()
		}
		if got := Callers[string](&g, "a"); got != 8 {
			t.Errorf("got %d callers, want 8", got)
		}
		close(end)
		wg.Wait()
		if got := runs.Load(); got != 1 {
			t.Errorf("got %d runs, want 1", got)
		}
		if got := Callers[string](&g, "a"); got != 0 {
			t.Errorf("got %d callers after the run, want 0", got)
		}
	})
}

// Names, and types of results, have runs of their own.
func TestDo_RunsEachKeySeparately(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		end := make(chan struct{})
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b"} {
			wg.Go(func() {
				if got, err := Do(t.Context(), &g, name, func(context.Context) (string, error) { <-end; return name, nil }); got != name || err != nil {
					t.Errorf("got %q, %v, want %q", got, err, name)
				}
			})
		}
		wg.Go(func() {
			if got, err := Do(t.Context(), &g, "a", func(context.Context) (int, error) { <-end; return 7, nil }); got != 7 || err != nil {
				t.Errorf("got %d, %v, want 7", got, err)
			}
		})
		synctest.Wait()
		close(end)
		wg.Wait()
	})
}

// The run goes on when a caller leaves, also the first one, and ends when the last one leaves. The next caller starts a
// new run.
func TestDo_EndsWithItsLastCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		var run context.Context
		f := func(ctx context.Context) (int, error) {
			run = ctx
			<-ctx.Done()
			return 0, ctx.Err()
		}
		cause := errors.New("left")
		ask := func() (leave func()) {
			ctx, cancel := context.WithCancelCause(t.Context())
			left := make(chan error, 1)
			go func() {
				_, err := Do(ctx, &g, "a", f)
				left <- err
			}()
			synctest.Wait()
			return func() {
				cancel(cause)
				if err := <-left; !errors.Is(err, cause) {
					t.Errorf("got %v, want the cause by which the caller left", err)
				}
				synctest.Wait()
			}
		}
		first, second := ask(), ask()
		first()
		if run.Err() != nil {
			t.Error("got the end of the run when its first caller left, want it to go on")
		}
		shared := run
		second()
		if cause := context.Cause(shared); !errors.Is(cause, ErrAllLeft) {
			t.Errorf("got the cause %v when the last caller left, want ErrAllLeft", cause)
		}
		third := ask()
		if run == shared {
			t.Error("got the run that has ended, want a new one")
		}
		third()
	})
}

// A caller whose context has ended starts no run.
func TestDo_RefusesAnEndedContext(t *testing.T) {
	t.Parallel()
	var g Group
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Do(ctx, &g, "a", func(context.Context) (int, error) {
		t.Error("got a run, want none")
		return 0, nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// A panic of the function is raised in its callers, and runtime.Goexit is an error of theirs.
func TestDo_HandsOnPanicsAndGoexit(t *testing.T) {
	t.Parallel()
	var g Group
	func() {
		defer func() {
			if got := recover(); got != "mine" {
				t.Errorf("got the panic %v, want mine", got)
			}
		}()
		_, _ = Do(t.Context(), &g, "a", func(context.Context) (int, error) { panic("mine") })
	}()
	if _, err := Do(t.Context(), &g, "a", func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }); err == nil {
		t.Error("got no error when the function ended its goroutine, want one")
	}
}
