package retry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/penstock/penstock/retry"
)

func ExampleDo() {
	policy := retry.Policy{Attempts: 3, Base: time.Millisecond}
	answer, err := retry.Do(context.Background(), policy, func(_ context.Context, attempt int) (string, error) {
		if attempt < 3 {
			return "", retry.After(errors.New("overloaded"), time.Millisecond)
		}
		return fmt.Sprintf("answered at attempt %d", attempt), nil
	})
	fmt.Println(answer, err)
	// Output: answered at attempt 3 <nil>
}

// Each attempt uses the next key. A revoked key is followed by the next one at once. A client error isn't retried.
func ExampleImmediately() {
	keys := []string{"k1", "k2", "k3"}
	_, err := retry.Do(context.Background(), retry.Policy{}, func(_ context.Context, attempt int) (string, error) {
		key := keys[attempt-1]
		if key == "k1" {
			return "", retry.Immediately(fmt.Errorf("%s is revoked", key))
		}
		return "", retry.Permanent(fmt.Errorf("%s: no such model", key))
	})
	if gaveUp, ok := errors.AsType[*retry.Error](err); ok {
		fmt.Println(gaveUp.Reason, gaveUp.Attempts, gaveUp.Errs)
	}
	// Output: permanent 2 [k1 is revoked k2: no such model]
}

// If a wait would end after the deadline, the call fails at once.
func ExampleError() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := retry.Do(ctx, retry.Policy{}, func(context.Context, int) (string, error) {
		return "", retry.After(errors.New("rate limit reached"), time.Hour)
	})
	if gaveUp, ok := errors.AsType[*retry.Error](err); ok {
		fmt.Println(gaveUp.Reason, gaveUp.RetryAfter, errors.Is(err, context.DeadlineExceeded))
	}
	// Output: deadline 1h0m0s true
}

func ExampleParseRetryAfter() {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for _, value := range []string{"20", "Fri, 20 Nov 2026 12:01:00 GMT", "9999999999", "never"} {
		fmt.Println(retry.ParseRetryAfter(http.Header{"Retry-After": {value}}, now))
	}
	// Output:
	// 20s true
	// 1m0s true
	// 24h0m0s true
	// 0s false
}

func ExampleNewBudget() {
	budget, err := retry.NewBudget(0.1, 1) // a tenth more calls than there would be without failures, and one a second
	if err != nil {
		fmt.Println(err)
		return
	}
	policy := retry.Policy{Budget: budget} // for every call to this provider
	_, err = retry.Do(context.Background(), policy, func(context.Context, int) (int, error) { return 42, nil })
	fmt.Println(err)
	// Output: <nil>
}
