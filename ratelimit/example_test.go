package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/ratelimit"
)

// exampleRedis returns a client of an embedded Redis. A program uses its own client.
func exampleRedis() (rdb *redis.Client, end func()) {
	mini := miniredis.NewMiniRedis()
	if err := mini.Start(); err != nil {
		panic(err)
	}
	rdb = redis.NewClient(&redis.Options{Addr: mini.Addr()})
	return rdb, func() {
		_ = rdb.Close()
		mini.Close()
	}
}

func ExampleLimiter_Allow() {
	rdb, end := exampleRedis()
	defer end()
	ctx := context.Background()

	limiter := ratelimit.NewLimiter(rdb)
	for range 3 {
		res, err := limiter.Allow(ctx, "project:123", ratelimit.PerHour(2))
		if err != nil {
			panic(err)
		}
		fmt.Println("allowed", res.Allowed, "remaining", res.Remaining, "retry after", res.RetryAfter.Round(time.Minute))
	}
	// Output:
	// allowed 1 remaining 1 retry after 0s
	// allowed 1 remaining 0 retry after 0s
	// allowed 0 remaining 0 retry after 30m0s
}

func ExampleLimiter_AllowAtMost() {
	rdb, end := exampleRedis()
	defer end()
	ctx := context.Background()

	limiter := ratelimit.NewLimiter(rdb)
	res, err := limiter.AllowAtMost(ctx, "mails", ratelimit.PerHour(100), 150)
	if err != nil {
		panic(err)
	}
	fmt.Println("send", res.Allowed, "of 150 now")
	// Output: send 100 of 150 now
}

func ExampleLimiter_Wait() {
	rdb, end := exampleRedis()
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()

	limiter := ratelimit.NewLimiter(rdb)
	// The provider receives at most 10 calls in any second, if the network delays them by up to 100 ms.
	limit := ratelimit.Window(10, time.Second, 1, 100*time.Millisecond)
	for i := range 3 {
		if err := limiter.Wait(ctx, "provider", limit); err != nil {
			panic(err)
		}
		fmt.Println("call", i)
	}
	// Output:
	// call 0
	// call 1
	// call 2
}

func ExampleLimiter_Admit() {
	rdb, end := exampleRedis()
	defer end()
	ctx := context.Background()

	limiter := ratelimit.NewLimiter(rdb)
	for _, tokens := range []int{600, 600} {
		// The keys have a common hash tag, so this also works with Redis Cluster.
		a, err := limiter.Admit(ctx,
			ratelimit.Charge{Key: "{acme}:requests", Limit: ratelimit.PerMinute(60), Cost: 1},
			ratelimit.Charge{Key: "{acme}:tokens", Limit: ratelimit.PerMinute(1000), Cost: tokens},
		)
		if err != nil {
			panic(err)
		}
		fmt.Println("allowed", a.Allowed, "refused by charge", a.Refused)
	}
	// Output:
	// allowed true refused by charge -1
	// allowed false refused by charge 1
}

func ExampleLimiter_Reserve() {
	rdb, end := exampleRedis()
	defer end()
	ctx := context.Background()

	limiter := ratelimit.NewLimiter(rdb)
	r, err := limiter.Reserve(ctx, ratelimit.Charge{Key: "tokens", Limit: ratelimit.PerHour(1000), Cost: 800})
	if err != nil {
		panic(err)
	}
	time.Sleep(r.Delay())
	// ... the call was cheaper than estimated:
	if err := r.Settle(300); err != nil {
		panic(err)
	}
	time.Sleep(50 * time.Millisecond) // only so that the example shows the settlement
	res, err := limiter.Peek(ctx, "tokens", ratelimit.PerHour(1000))
	if err != nil {
		panic(err)
	}
	fmt.Println("remaining", res.Remaining)
	// Output: remaining 700
}

func ExampleLimiter_Observe() {
	rdb, end := exampleRedis()
	defer end()
	ctx := context.Background()

	limiter := ratelimit.NewLimiter(rdb)
	limit := ratelimit.PerHour(1000)
	// The provider reports that other clients have used most of the quota.
	if err := limiter.Observe("provider", limit, ratelimit.Quota{Remaining: 20}); err != nil {
		panic(err)
	}
	res, err := limiter.AllowN(ctx, "provider", limit, 50)
	if err != nil {
		panic(err)
	}
	fmt.Println("allowed", res.Allowed)
	// Output: allowed 0
}

func ExampleNew() {
	rdb, end := exampleRedis()
	defer end()
	ctx := context.Background()

	limiter, err := ratelimit.New(rdb, ratelimit.Config{
		Prefix:  "shop:rate:",
		MaxWait: 10 * time.Second,
		Timeout: 500 * time.Millisecond,
		Outage:  ratelimit.LocalShare,
		Hooks: ratelimit.Hooks{
			Refused: func(_ context.Context, d ratelimit.Decision) { fmt.Println("refused:", d.Key, d.Cost) },
		},
	})
	if err != nil {
		panic(err)
	}
	err = limiter.WaitN(ctx, "orders", ratelimit.PerSecond(5), 6)
	fmt.Println(errors.Is(err, ratelimit.ErrNeverFits))
	if _, err := limiter.AllowN(ctx, "orders", ratelimit.PerSecond(5), 6); err != nil {
		panic(err)
	}
	// Output:
	// true
	// refused: orders 6
}
