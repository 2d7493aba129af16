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

// flaky fails with the given errors, one an attempt, then succeeds. It notes when each attempt began.
type flaky struct {
	errs  []error
	began []time.Duration
	start time.Time
}

func fails(errs ...error) *flaky { return &flaky{errs: errs, start: time.Now()} }

func (f *flaky) call(_ context.Context, attempt int) (string, error) {
	if attempt != len(f.began)+1 {
		return "", retry.Permanent(fmt.Errorf("attempt %d is called %d", len(f.began)+1, attempt))
	}
	f.began = append(f.began, time.Since(f.start))
	value := fmt.Sprintf("value %d", attempt)
	if attempt <= len(f.errs) {
		return value, f.errs[attempt-1]
	}
	return value, nil
}

// exact is a policy whose waits are known: 1 s, 2 s, 4 s, 8 s.
func exact() retry.Policy {
	return retry.Policy{Base: time.Second, Jitter: retry.NoJitter}
}

// must returns the *retry.Error in err, which must have the reason.
func must(t *testing.T, err error, why retry.Reason) *retry.Error {
	t.Helper()
	e, ok := errors.AsType[*retry.Error](err)
	if !ok || e.Reason != why {
		t.Fatalf("error %v, want one with reason %q", err, why)
	}
	return e
}

func wantBegan(t *testing.T, f *flaky, want ...time.Duration) {
	t.Helper()
	if !slices.Equal(f.began, want) {
		t.Errorf("attempts began at %v, want %v", f.began, want)
	}
}

func TestDoBacksOffAndSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fails(retry.After(errBoom, 0), retry.After(errBoom, 0), retry.After(errBoom, 0))
		value, err := retry.Do(t.Context(), exact(), f.call)
		if value != "value 4" || err != nil {
			t.Errorf("got %q, %v", value, err)
		}
		wantBegan(t, f, 0, time.Second, 3*time.Second, 7*time.Second)
	})
}

func TestDoStopsAfterAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []retry.Event
		var discarded []string
		p := exact()
		p.Attempts = 3
		p.OnRetry = func(e retry.Event) { events = append(events, e) }
		again := retry.After(errBoom, 0)
		f := fails(again, again, again, again)
		value, err := retry.Do(t.Context(), p, f.call, func(v string) { discarded = append(discarded, v) })

		e := must(t, err, retry.AttemptsSpent)
		if e.Attempts != 3 || len(e.Errs) != 3 || e.Elapsed != 3*time.Second || e.Wait != 4*time.Second || !errors.Is(err, errBoom) {
			t.Errorf("error %+v", e)
		}
		if value != "value 3" || !slices.Equal(discarded, []string{"value 1", "value 2"}) {
			t.Errorf("value %q, discarded %q: only what another attempt replaces is discarded", value, discarded)
		}
		if len(events) != 2 || events[1].Attempt != 2 || events[1].Wait != 2*time.Second || events[1].Elapsed != time.Second {
			t.Errorf("events %+v: none belongs to the last attempt", events)
		}
	})
}

func TestDoDoesNotRepeatWhatWontHelp(t *testing.T) {
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
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestDoRetriesImmediately(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := retry.Immediately(errBoom)
		f := fails(other, other, retry.After(errBoom, 0))
		if _, err := retry.Do(t.Context(), exact(), f.call); err != nil {
			t.Error(err)
		}
		wantBegan(t, f, 0, 0, 0, time.Second) // and the first backoff is still the shortest
	})
}

func TestDoKeepsRetryAfterAsAFloor(t *testing.T) {
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
				t.Errorf("waited %v, want %v to a tenth more", at, floor)
			}
			began[at.Round(time.Millisecond)] = true
		}
		instants := slices.Sorted(maps.Keys(began))
		if spread := instants[len(instants)-1] - instants[0]; len(instants) < 15 || spread < time.Second {
			t.Errorf("19 clients that were told the same instant came back at %v", instants)
		}
	})
}

func TestDoNeverSleepsPastTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		f := fails(retry.After(errBoom, 0), retry.After(errBoom, 11*time.Second))
		value, err := retry.Do(ctx, exact(), f.call)

		e := must(t, err, retry.Deadline)
		if value != "value 2" || e.Attempts != 2 || e.RetryAfter != 11*time.Second || e.Wait != 11*time.Second ||
			e.Left != 9*time.Second || e.Elapsed != time.Second {
			t.Errorf("value %q, error %+v", value, e)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errBoom) {
			t.Errorf("%v is not both a deadline and the call's error", err)
		}
	})
}

func TestDoKeepsTheElapsedLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for limit, left := range map[time.Duration]time.Duration{3 * time.Second: 0, 6 * time.Second: 3 * time.Second} {
			p := exact()
			p.MaxElapsed = limit
			again := retry.After(errBoom, 0)
			f := fails(again, again, again, again)
			_, err := retry.Do(t.Context(), p, f.call)
			if e := must(t, err, retry.ElapsedSpent); e.Wait != 4*time.Second || e.Left != left {
				t.Errorf("limit %v: error %+v", limit, e)
			}
			wantBegan(t, f, 0, time.Second, 3*time.Second)
		}
	})
}

func TestDoEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(500*time.Millisecond, func() { cancel(why) })
		f := fails(retry.After(errBoom, 0))
		value, err := retry.Do(ctx, exact(), f.call)
		e := must(t, err, retry.Canceled)
		if value != "" {
			t.Errorf("value %q, of an attempt that was to be followed by another", value)
		}
		if e.Elapsed != 500*time.Millisecond {
			t.Errorf("took %v to notice", e.Elapsed)
		}
		for _, want := range []error{errBoom, why, context.Canceled} {
			if !errors.Is(err, want) {
				t.Errorf("%v doesn't tell of %v", err, want)
			}
		}
		wantBegan(t, f, 0)

		_, err = retry.Do(ctx, exact(), f.call)
		if e := must(t, err, retry.Canceled); e.Attempts != 0 || !errors.Is(err, why) {
			t.Errorf("a call whose context is over before it begins: %+v", e)
		}
	})
}

// A context that ends while the timer is ready too must win every time.
func TestDoNeverRunsAgainAfterACancel(t *testing.T) {
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		attempts := 0
		_, err := retry.Do(ctx, retry.Policy{OnRetry: func(retry.Event) { cancel() }}, func(context.Context, int) (int, error) {
			attempts++
			return 0, retry.Immediately(errBoom)
		})
		if must(t, err, retry.Canceled); attempts != 1 {
			t.Fatalf("%d attempts, %d of them after the cancel", attempts, attempts-1)
		}
	}
}

// The timeout of one attempt is worth another; that of the call isn't.
func TestDoTellsTheTimeoutsApart(t *testing.T) {
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
			t.Errorf("error %+v", e)
		}
	})
}

// Layers of retries don't multiply.
func TestDoTakesUpNothingThatWasGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		_, err := retry.Do(t.Context(), exact(), func(ctx context.Context, _ int) (int, error) {
			return retry.Do(ctx, exact(), func(context.Context, int) (int, error) {
				attempts++
				return 0, retry.After(errBoom, time.Second)
			})
		})
		if e := must(t, err, retry.PermanentFailure); attempts != 5 || e.RetryAfter != time.Second || !errors.Is(err, errBoom) {
			t.Errorf("%d attempts, error %+v", attempts, e)
		}
	})
}

func TestDoRefusesABadPolicy(t *testing.T) {
	for _, p := range []retry.Policy{
		{Attempts: -1}, {Base: -1}, {Max: -1}, {Multiplier: 0.5}, {MaxElapsed: -1}, {Jitter: 9}, {Base: time.Minute, Max: time.Second},
		{Max: time.Millisecond},
	} {
		f := fails()
		if _, err := retry.Do(t.Context(), p, f.call); err == nil || len(f.began) > 0 {
			t.Errorf("policy %+v: error %v, %d attempts", p, err, len(f.began))
		}
	}
}
