package retry_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/retry"
)

// scenario is a call whose attempts take given times and fail with given hints, then succeed.
type scenario struct {
	policy           retry.Policy
	deadline, cancel time.Duration // from the beginning; 0: never
	steps            []step
}

type step struct {
	takes time.Duration
	hint  retry.Hint
}

func (s step) Error() string         { return "failed" }
func (s step) RetryHint() retry.Hint { return s.hint }

func drawScenario(t *rapid.T) scenario {
	upTo := func(d time.Duration, name string) time.Duration {
		return time.Duration(rapid.Int64Range(0, int64(d)).Draw(t, name))
	}
	maybe := func(d time.Duration, name string) time.Duration {
		return upTo(d, name) * time.Duration(rapid.IntRange(0, 1).Draw(t, "with "+name))
	}
	s := scenario{
		policy: retry.Policy{
			Attempts:   rapid.IntRange(1, 8).Draw(t, "attempts"),
			Base:       1 + upTo(3*time.Second, "base"),
			Max:        3*time.Second + 1 + upTo(10*time.Second, "max"),
			Jitter:     retry.Jitter(rapid.IntRange(0, 2).Draw(t, "jitter")),
			MaxElapsed: maybe(time.Minute, "elapsed"),
		},
		deadline: maybe(time.Minute, "deadline"),
		cancel:   maybe(time.Minute, "cancel"),
	}
	for range rapid.IntRange(0, 9).Draw(t, "failures") {
		advice := rapid.SampledFrom([]retry.Advice{retry.Later, retry.Later, retry.Now, retry.Never}).Draw(t, "advice")
		s.steps = append(s.steps, step{maybe(5*time.Second, "takes"), retry.Hint{Advice: advice, After: maybe(40*time.Second, "after")}})
	}
	return s
}

// record is the course of a call.
type record struct {
	began, ended []time.Duration // each attempt
	discarded    []int
	value        int // the attempt whose value was returned
	err          error
	returned     time.Duration
}

func (s scenario) run(t *testing.T) (r record) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx := t.Context()
		if s.deadline > 0 {
			var stop context.CancelFunc
			ctx, stop = context.WithTimeout(ctx, s.deadline)
			defer stop()
		}
		if s.cancel > 0 {
			var stop context.CancelFunc
			ctx, stop = context.WithCancel(ctx)
			defer time.AfterFunc(s.cancel, stop).Stop()
			defer stop()
		}
		r.value, r.err = retry.Do(ctx, s.policy, func(_ context.Context, n int) (int, error) {
			r.began = append(r.began, time.Since(start))
			defer func() { r.ended = append(r.ended, time.Since(start)) }()
			if n > len(s.steps) {
				return n, nil
			}
			time.Sleep(s.steps[n-1].takes)
			return n, s.steps[n-1]
		}, func(n int) { r.discarded = append(r.discarded, n) })
		r.returned = time.Since(start)
	})
	return r
}

// In random scenarios the limits hold, floors are kept, no wait ends after a limit, and each value is discarded or returned.
func TestDo_KeepsItsBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := drawScenario(rt)
		r := s.run(t)
		n := len(r.began)
		if n > s.policy.Attempts {
			rt.Errorf("attempts: got %d, want at most %d", n, s.policy.Attempts)
		}
		for i := 1; i < n; i++ {
			hint, wait := s.steps[i-1].hint, r.began[i]-r.ended[i-1]
			least, most := hint.After, hint.After+s.policy.Max
			if hint.Advice == retry.Now {
				least, most = 0, 0
			}
			if hint.Advice == retry.Never || wait < least || wait > most {
				rt.Errorf("the wait before attempt %d: got %v, want from %v to %v", i+1, wait, least, most)
			}
			for _, limit := range []time.Duration{s.deadline, s.cancel, s.policy.MaxElapsed} {
				if limit > 0 && r.began[i] > limit {
					rt.Errorf("the start of attempt %d: got %v, want at most %v", i+1, r.began[i], limit)
				}
			}
		}
		checkEnd(rt, s, r)
		checkValues(rt, r)
	})
}

// checkEnd checks that the call returns at the end of its last attempt, or when it is cancelled during a wait.
func checkEnd(t *rapid.T, s scenario, r record) {
	if r.err == nil {
		if len(r.began) != len(s.steps)+1 {
			t.Errorf("attempts until success: got %d, want %d", len(r.began), len(s.steps)+1)
		}
		return
	}
	e, ok := r.err.(*retry.Error)
	if !ok || e.Attempts != len(r.began) || e.Elapsed != r.returned || len(e.Errs) < e.Attempts {
		t.Fatalf("got error %+v, want that of %d attempts in %v", r.err, len(r.began), r.returned)
	}
	last := time.Duration(0)
	if e.Attempts > 0 {
		last = r.ended[e.Attempts-1]
	}
	if r.returned != last && (e.Reason != retry.Canceled || r.returned != s.cancel) {
		t.Errorf("given up (%q): got it at %v, want %v", e.Reason, r.returned, last)
	}
}

// checkValues checks that each attempt's value is discarded or returned.
func checkValues(t *rapid.T, r record) {
	var want []int
	for n := range r.began {
		want = append(want, n+1)
	}
	got := r.discarded
	if r.value != 0 {
		got = append(slices.Clone(got), r.value)
	}
	if !slices.Equal(got, want) {
		t.Errorf("values discarded or returned: got %v, want %v", got, want)
	}
}
