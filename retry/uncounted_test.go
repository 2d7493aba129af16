package retry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/retry"
)

// Attempts without an effect count neither towards Attempts nor towards the budget, and of several in a row the error keeps
// the last.
func TestUncounted_IsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget, err := retry.NewBudget(0, 0.1) // one retry within ten seconds
		if err != nil {
			t.Fatal(err)
		}
		idle, broken := errors.New("never sent"), errors.New("broken")
		policy := retry.Policy{Attempts: 2, Budget: budget, Base: time.Millisecond}
		_, err = retry.Do(t.Context(), policy, func(_ context.Context, n int) (int, error) {
			if n%4 == 0 {
				return 0, retry.After(broken, 0)
			}
			return 0, retry.Uncounted(retry.Immediately(idle))
		})
		var e *retry.Error
		if !errors.As(err, &e) || e.Reason != retry.AttemptsSpent || e.Attempts != 8 {
			t.Fatalf("got %v, want the attempts spent after 8", err)
		}
		if len(e.Errs) != 4 || !errors.Is(e.Errs[0], idle) || !errors.Is(e.Last(), broken) {
			t.Errorf("got the errors %v, want one of each row", e.Errs)
		}
	})
}

// Uncounted keeps the rest of an error's hint, and nil stays nil.
func TestUncounted_KeepsTheHint(t *testing.T) {
	t.Parallel()
	var h retry.Hinter
	if err := retry.Uncounted(retry.After(errors.New("x"), time.Minute)); !errors.As(err, &h) {
		t.Fatalf("got %v, want a hint", err)
	}
	if got, want := h.RetryHint(), (retry.Hint{Advice: retry.Later, After: time.Minute, Uncounted: true}); got != want {
		t.Errorf("got the hint %+v, want %+v", got, want)
	}
	if err := retry.Uncounted(nil); err != nil {
		t.Errorf("got %v of nil, want nil", err)
	}
}

// An uncounted attempt ends with the deadline as any other.
func TestUncounted_EndsWithTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := retry.Do(ctx, retry.Policy{Attempts: 2}, func(context.Context, int) (int, error) {
			return 0, retry.Uncounted(retry.After(errors.New("throttled"), time.Second))
		})
		var e *retry.Error
		if !errors.As(err, &e) || e.Reason != retry.Deadline || e.Attempts < 5 {
			t.Errorf("got %v, want the deadline after more than 5 attempts", err)
		}
	})
}

// The waits after uncounted attempts grow no longer than those of attempts that count: the call goes on soon after a long
// trouble has ended.
func TestUncounted_BackoffStaysShort(t *testing.T) {
	for name, test := range map[string]struct {
		policy  retry.Policy
		longest time.Duration
	}{
		"defaults":     {retry.Policy{Jitter: retry.NoJitter}, 2 * time.Second},
		"few attempts": {retry.Policy{Attempts: 2, Jitter: retry.NoJitter}, 2 * time.Second},
		"more":         {retry.Policy{Attempts: 7, Jitter: retry.NoJitter}, 8 * time.Second},
		"decorrelated": {retry.Policy{Jitter: retry.DecorrelatedJitter}, 2 * time.Second},
		"low maximum":  {retry.Policy{Max: time.Second, Jitter: retry.NoJitter}, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			var last time.Time
			var longest time.Duration
			_, _ = retry.Do(ctx, test.policy, func(context.Context, int) (int, error) {
				if now := time.Now(); !last.IsZero() {
					longest = max(longest, now.Sub(last))
				}
				last = time.Now()
				return 0, retry.Uncounted(retry.After(errors.New("the provider is overloaded"), 0))
			})
			if longest > test.longest || longest < test.longest/2 {
				t.Errorf("%s: got waits of up to %v, want up to %v", name, longest, test.longest)
			}
		})
	}
}
