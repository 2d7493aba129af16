package batch_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/caller/batch"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// numbers yields 0 to n-1.
func numbers(n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
	}
}

func double(_ context.Context, n int) (int, error) { return 2 * n, nil }

// Each input reaches the sink once, with its own result.
func TestRun_GivesEachInputOneResult(t *testing.T) {
	var got []int
	p := new(batch.Progress)
	err := batch.Run(t.Context(), numbers(1000), double, func(r batch.Result[int, int]) error {
		if r.Err != nil || r.Out != 2*r.In {
			t.Errorf("input %d: got %d, %v, want %d", r.In, r.Out, r.Err, 2*r.In)
		}
		got = append(got, r.In)
		return nil
	}, batch.Options{Workers: 7, Progress: p})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	for i := range 1000 {
		if got[i] != i {
			t.Fatalf("got input %d, want %d", got[i], i)
		}
	}
	if c := p.Counts(); c.Taken != 1000 || c.Succeeded != 1000 || c.InFlight() != 0 {
		t.Errorf("got counts %+v, want those of the run", c)
	}
}

// A run reads at most one input beyond its workers.
func TestRun_BoundsCallsAndInputsReadAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var read, going, most atomic.Int64
		inputs := func(yield func(int, error) bool) {
			for i := range 100 {
				read.Add(1)
				if !yield(i, nil) {
					return
				}
			}
		}
		var sunk int64
		call := func(context.Context, int) (int, error) {
			most.Store(max(most.Load(), going.Add(1)))
			defer going.Add(-1)
			time.Sleep(time.Second)
			return 0, nil
		}
		err := batch.Run(t.Context(), inputs, call, func(batch.Result[int, int]) error {
			sunk++
			if ahead := read.Load() - sunk; ahead > 2*10+1 {
				t.Errorf("got %d inputs read ahead, want at most 1", ahead)
			}
			return nil
		}, batch.Options{Workers: 10})
		if err != nil || most.Load() != 10 {
			t.Errorf("got %d calls in flight, error %v, want as many as workers, nil", most.Load(), err)
		}
	})
}

// Errors of inputs and of calls reach the sink as results.
func TestRun_PassesErrorsToTheSink(t *testing.T) {
	broken, refused := errors.New("broken line"), errors.New("refused")
	inputs := func(yield func(int, error) bool) {
		_ = yield(1, nil) && yield(2, broken) && yield(3, nil)
	}
	call := func(_ context.Context, n int) (string, error) {
		if n == 3 {
			return "", refused
		}
		return fmt.Sprint(n), nil
	}
	errs := make(map[int]error)
	p := new(batch.Progress)
	err := batch.Run(t.Context(), inputs, call, func(r batch.Result[int, string]) error {
		errs[r.In] = r.Err
		return nil
	}, batch.Options{Progress: p})
	if err != nil {
		t.Fatal(err)
	}
	_, rejected := errors.AsType[*batch.InputError](errs[2])
	if errs[1] != nil || !rejected || !errors.Is(errs[2], broken) || !errors.Is(errs[3], refused) {
		t.Errorf("got errors %v, want those of inputs and calls", errs)
	}
	if c := p.Counts(); c.Succeeded != 1 || c.Failed != 1 || c.Rejected != 1 {
		t.Errorf("got counts %+v, want those of the run", c)
	}
}

// A drain lets calls finish that have begun, and ends the others.
func TestRun_FinishesBegunCallsOnDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drain := make(chan struct{})
		call := func(ctx context.Context, n int) (int, error) {
			if n < 3 { // admitted and sent
				if err := batch.Begin(ctx); err != nil {
					return 0, err
				}
				time.Sleep(10 * time.Second)
				return n, ctx.Err()
			}
			<-ctx.Done() // waits for its turn
			if err := batch.Begin(ctx); !errors.Is(err, batch.ErrDrained) {
				t.Errorf("got %v from Begin after the drain, want ErrDrained", err)
			}
			return 0, context.Cause(ctx)
		}
		time.AfterFunc(time.Second, func() { close(drain) })
		var done []int
		p := new(batch.Progress)
		err := batch.Run(t.Context(), numbers(1000), call, func(r batch.Result[int, int]) error {
			if r.Err == nil {
				done = append(done, r.In)
			}
			return nil
		}, batch.Options{Workers: 8, Drain: drain, Progress: p})
		slices.Sort(done)
		if !errors.Is(err, batch.ErrDrained) || !slices.Equal(done, []int{0, 1, 2}) {
			t.Errorf("got results %v, error %v, want the begun calls, ErrDrained", done, err)
		}
		if c := p.Counts(); c.Taken != 8 || c.Abandoned != 5 || c.Failed != 0 {
			t.Errorf("got counts %+v, want those of the run", c)
		}
	})
}

// When the context ends, all calls end and their results reach the sink.
func TestRun_EndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		call := func(ctx context.Context, _ int) (int, error) {
			_ = batch.Begin(ctx)
			<-ctx.Done()
			return 0, ctx.Err()
		}
		time.AfterFunc(time.Second, func() { cancel(enough) })
		var results int
		err := batch.Run(ctx, numbers(100), call, func(batch.Result[int, int]) error { results++; return nil },
			batch.Options{Workers: 5})
		if !errors.Is(err, enough) || results != 5 {
			t.Errorf("got %d results, error %v, want one of each call, and the cause", results, err)
		}
	})
}

// After an error of the sink, no result reaches it.
func TestRun_EndsWithTheSinksError(t *testing.T) {
	full := errors.New("disk full")
	var sunk int
	err := batch.Run(t.Context(), numbers(1_000_000), double, func(batch.Result[int, int]) error {
		sunk++
		return full
	}, batch.Options{Workers: 4})
	if !errors.Is(err, full) || sunk != 1 {
		t.Errorf("got %d results, error %v, want none after the sink's error", sunk, err)
	}
}

// Run refuses a number of workers out of range.
func TestRun_RefusesOptionsOutOfRange(t *testing.T) {
	for _, n := range []int{-1, batch.MaxWorkers + 1} {
		if err := batch.Run(t.Context(), numbers(1), double, nil, batch.Options{Workers: n}); err == nil {
			t.Errorf("%d workers: got no error, want one", n)
		}
	}
}

func ExampleRun() {
	var sum int
	err := batch.Run(context.Background(), numbers(4), double, func(r batch.Result[int, int]) error {
		sum += r.Out
		return r.Err
	}, batch.Options{Workers: 2})
	fmt.Println(sum, err)
	// Output: 12 <nil>
}
