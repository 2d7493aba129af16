package retry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/ratelimit"
	"github.com/penstock/penstock/retry"
)

// A limiter's ErrDeadline ends the call at once, with the reason Deadline and the limiter's delay.
func TestDo_EndsAtALimitersErrDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f := fails(&ratelimit.Error{RetryAfter: time.Hour, Err: ratelimit.ErrDeadline})
		_, err := retry.Do(ctx, exact(), f.call)
		if e := must(t, err, retry.Deadline); e.RetryAfter != time.Hour || e.Left != time.Minute {
			t.Errorf("got %+v, want a RetryAfter of 1h and 1m left", e)
		}
		if !errors.Is(err, ratelimit.ErrDeadline) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, ratelimit.ErrDeadline)
		}
		wantBegan(t, f, 0)
	})
}

// If the deadline was that of the attempt, the call is tried again after the limiter's delay.
func TestDo_RetriesErrDeadlineOfAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fails(&ratelimit.Error{RetryAfter: time.Minute, Err: ratelimit.ErrDeadline})
		if _, err := retry.Do(t.Context(), exact(), f.call); err != nil {
			t.Errorf("got %v, want nil", err)
		}
		if len(f.began) != 2 || f.began[1] < time.Minute {
			t.Errorf("times of the attempts: got %v, want 2, a minute apart", f.began)
		}
	})
}
