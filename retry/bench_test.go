package retry_test

import (
	"context"
	"testing"

	retrygo "github.com/avast/retry-go/v4"

	"github.com/penstock/penstock/retry"
)

// BenchmarkDo measures a call that succeeds, and one that succeeds at the second attempt without a wait.
func BenchmarkDo(b *testing.B) {
	for _, attempts := range []int{1, 2} {
		name := map[int]string{1: "calls=first", 2: "calls=second"}[attempts]
		b.Run(name+"/impl=retry-go", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				retrygo.DoWithData(func() (int, error) {
					if n++; n < attempts {
						return 0, errBoom
					}
					return n, nil
				}, retrygo.Context(b.Context()), retrygo.Delay(0), retrygo.DelayType(retrygo.FixedDelay))
			}
		})
		b.Run(name+"/impl=ours", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				retry.Do(b.Context(), retry.Policy{}, func(_ context.Context, n int) (int, error) {
					if n < attempts {
						return 0, retry.Immediately(errBoom)
					}
					return n, nil
				})
			}
		})
	}
}
