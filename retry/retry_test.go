package retry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	retrygo "github.com/avast/retry-go/v4"
	"go.uber.org/goleak"

	"github.com/penstock/penstock/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

// flaky fails with the given errors, one an attempt, then succeeds. It records when each attempt began.
type flaky struct {
	errs  []error
	began []time.Duration
	start time.Time
}

func fails(errs ...error) *flaky { return &flaky{errs: errs, start: time.Now()} }

func (f *flaky) call(_ context.Context, attempt int) (string, error) {
	if attempt != len(f.began)+1 {
		return "", retry.Permanent(fmt.Errorf("the attempt number: got %d, want %d", attempt, len(f.began)+1))
	}
	f.began = append(f.began, time.Since(f.start))
	value := fmt.Sprintf("value %d", attempt)
	if attempt <= len(f.errs) {
		return value, f.errs[attempt-1]
	}
	return value, nil
}

// exact returns a policy with waits of exactly 1 s, 2 s, 4 s, 8 s.
func exact() retry.Policy {
	return retry.Policy{Base: time.Second, Jitter: retry.NoJitter}
}

// must returns the *retry.Error in err, and fails the test if it has another reason.
func must(t *testing.T, err error, why retry.Reason) *retry.Error {
	t.Helper()
	e, ok := errors.AsType[*retry.Error](err)
	if !ok || e.Reason != why {
		t.Fatalf("got error %v, want one with reason %q", err, why)
	}
	return e
}

func wantBegan(t *testing.T, f *flaky, want ...time.Duration) {
	t.Helper()
	if !slices.Equal(f.began, want) {
		t.Errorf("times of the attempts: got %v, want %v", f.began, want)
	}
}

// Do waits 1 s, 2 s and 4 s between four attempts.
func TestDo_BacksOffAndSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fails(retry.After(errBoom, 0), retry.After(errBoom, 0), retry.After(errBoom, 0))
		value, err := retry.Do(t.Context(), exact(), f.call)
		if value != "value 4" || err != nil {
			t.Errorf("got %q and %v, want value 4 and nil", value, err)
		}
		wantBegan(t, f, 0, time.Second, 3*time.Second, 7*time.Second)
	})
}

// After the last attempt, Do returns its value. Only the values of attempts that another one follows are discarded.
func TestDo_StopsAfterAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []retry.Event
		var discarded []string
		p := exact()
		p.Attempts = 3
		p.Hooks.Retried = func(_ context.Context, e retry.Event) { events = append(events, e) }
		later := retry.After(errBoom, 0)
		f := fails(later, later, later, later)
		value, err := retry.Do(t.Context(), p, f.call, func(v string) { discarded = append(discarded, v) })

		e := must(t, err, retry.AttemptsSpent)
		if e.Attempts != 3 || len(e.Errs) != 3 || e.Elapsed != 3*time.Second || e.Wait != 4*time.Second || !errors.Is(err, errBoom) {
			t.Errorf("got error %+v, want 3 attempts with errors in 3s and a wait of 4s", e)
		}
		if value != "value 3" || !slices.Equal(discarded, []string{"value 1", "value 2"}) {
			t.Errorf("got value %q and discarded %q, want value 3 and the values 1 and 2", value, discarded)
		}
		if len(events) != 2 || events[1].Attempt != 2 || events[1].Wait != 2*time.Second || events[1].Elapsed != time.Second {
			t.Errorf("got events %+v, want 2 with a wait of 2s in the second", events)
		}
	})
}

// An error that isn't retryable ends the call after its attempt.
func TestDo_MakesOneAttemptAtPermanentFailures(t *testing.T) {
	for name, err := range map[string]error{
		"unknown":            errBoom,
		"permanent":          retry.Permanent(retry.After(errBoom, time.Second)),
		"retry-go's own":     fmt.Errorf("%w: %w", io.EOF, retrygo.Unrecoverable(errBoom)),
		"canceled elsewhere": fmt.Errorf("%w: %w", context.Canceled, errBoom),
	} {
		f := fails(err, err)
		_, got := retry.Do(t.Context(), retry.Policy{}, f.call)
		e := must(t, got, retry.PermanentFailure)
		if e.Attempts != 1 || e.Wait != 0 || !errors.Is(got, errBoom) {
			t.Errorf("%s: got %+v, want 1 attempt and no wait", name, e)
		}
	}
}

// Immediate retries don't wait, and don't lengthen the first backoff.
func TestDo_RetriesImmediately(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := retry.Immediately(errBoom)
		f := fails(other, other, retry.After(errBoom, 0))
		if _, err := retry.Do(t.Context(), exact(), f.call); err != nil {
			t.Errorf("got %v, want nil", err)
		}
		wantBegan(t, f, 0, 0, 0, time.Second)
	})
}

// The wait is at least the hint's After, which Max doesn't shorten. Jitter is added to it.
func TestDo_WaitsAtLeastRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const floor = 90 * time.Second // above Max
		began := map[time.Duration]bool{}
		for range 19 {
			f := fails(retry.After(errBoom, floor))
			if _, err := retry.Do(t.Context(), retry.Policy{Max: 20 * time.Second}, f.call); err != nil {
				t.Fatal(err)
			}
			at := f.began[1]
			if at < floor || at > floor+floor/10 {
				t.Errorf("the wait: got %v, want from %v to %v", at, floor, floor+floor/10)
			}
			began[at.Round(time.Millisecond)] = true
		}
		instants := slices.Sorted(maps.Keys(began))
		if spread := instants[len(instants)-1] - instants[0]; len(instants) < 15 || spread < time.Second {
			t.Errorf("waits of 19 calls with the same After: got %v, want at least 15 different ones over a second", instants)
		}
	})
}

// If the next attempt would start after the deadline, the call fails without the wait.
func TestDo_FailsAtOnceIfTheDeadlineIsTooClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		f := fails(retry.After(errBoom, 0), retry.After(errBoom, 11*time.Second))
		value, err := retry.Do(ctx, exact(), f.call)

		e := must(t, err, retry.Deadline)
		if value != "value 2" || e.Attempts != 2 || e.RetryAfter != 11*time.Second || e.Wait != 11*time.Second ||
			e.Left != 9*time.Second || e.Elapsed != time.Second {
			t.Errorf("got value %q and error %+v, want value 2 after 1s, with a wait of 11s and 9s left", value, e)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errBoom) {
			t.Errorf("got %v, want %v and %v", err, context.DeadlineExceeded, errBoom)
		}
	})
}

// No attempt starts after MaxElapsed, and the call doesn't wait for it.
func TestDo_ObeysMaxElapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for limit, left := range map[time.Duration]time.Duration{3 * time.Second: 0, 6 * time.Second: 3 * time.Second} {
			p := exact()
			p.MaxElapsed = limit
			later := retry.After(errBoom, 0)
			f := fails(later, later, later, later)
			_, err := retry.Do(t.Context(), p, f.call)
			if e := must(t, err, retry.ElapsedSpent); e.Wait != 4*time.Second || e.Left != left {
				t.Errorf("MaxElapsed %v: got %+v, want a wait of 4s and %v left", limit, e, left)
			}
			wantBegan(t, f, 0, time.Second, 3*time.Second)
		}
	})
}

// A cancelled context ends the wait. The error has the context's error, its cause and the attempt's error.
func TestDo_EndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(500*time.Millisecond, func() { cancel(why) })
		f := fails(retry.After(errBoom, 0))
		value, err := retry.Do(ctx, exact(), f.call)
		e := must(t, err, retry.Canceled)
		if value != "" {
			t.Errorf("got value %q, want none", value)
		}
		if e.Elapsed != 500*time.Millisecond {
			t.Errorf("Elapsed: got %v, want 500ms", e.Elapsed)
		}
		for _, want := range []error{errBoom, why, context.Canceled} {
			if !errors.Is(err, want) {
				t.Errorf("got %v, want also %v", err, want)
			}
		}
		wantBegan(t, f, 0)

		_, err = retry.Do(ctx, exact(), f.call)
		if e := must(t, err, retry.Canceled); e.Attempts != 0 || !errors.Is(err, why) {
			t.Errorf("with a context that has ended: got %+v, want no attempt and %v", e, why)
		}
	})
}

// If the context ends while the timer is ready, too, no further attempt starts.
func TestDo_MakesNoAttemptAfterACancel(t *testing.T) {
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		attempts := 0
		_, err := retry.Do(ctx, retry.Policy{Hooks: retry.Hooks{Retried: func(context.Context, retry.Event) { cancel() }}}, func(context.Context, int) (int, error) {
			attempts++
			return 0, retry.Immediately(errBoom)
		})
		if must(t, err, retry.Canceled); attempts != 1 {
			t.Fatalf("got %d attempts, want 1", attempts)
		}
	}
}

// An attempt's own timeout is retryable; the deadline of the call isn't.
func TestDo_RetriesAnAttemptsOwnTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		slow := func(ctx context.Context, _ int) (int, error) {
			ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			<-ctx.Done()
			return 0, ctx.Err()
		}
		_, err := retry.Do(ctx, exact(), slow)
		if e := must(t, err, retry.Deadline); e.Attempts != 2 || e.Elapsed != 5*time.Second || len(e.Errs) != 2 {
			t.Errorf("got %+v, want 2 attempts with errors in 5s", e)
		}
	})
}

// A Do doesn't retry what an inner Do gave up.
func TestDo_DoesNotRetryAnInnerDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		_, err := retry.Do(t.Context(), exact(), func(ctx context.Context, _ int) (int, error) {
			return retry.Do(ctx, exact(), func(context.Context, int) (int, error) {
				attempts++
				return 0, retry.After(errBoom, time.Second)
			})
		})
		if e := must(t, err, retry.PermanentFailure); attempts != 5 || e.RetryAfter != time.Second || !errors.Is(err, errBoom) {
			t.Errorf("got %d attempts and %+v, want 5 and a RetryAfter of 1s", attempts, e)
		}
	})
}

// With an invalid policy, Do makes no attempt.
func TestDo_RefusesAnInvalidPolicy(t *testing.T) {
	for _, p := range []retry.Policy{
		{Attempts: -1}, {Base: -1}, {Max: -1}, {Multiplier: 0.5}, {MaxElapsed: -1}, {Jitter: 9}, {Base: time.Minute, Max: time.Second},
		{Max: time.Millisecond},
	} {
		f := fails()
		if _, err := retry.Do(t.Context(), p, f.call); err == nil || len(f.began) > 0 {
			t.Errorf("policy %+v: got %v and %d attempts, want an error and none", p, err, len(f.began))
		}
	}
}
