package concurrency_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/penstock/penstock/concurrency"
	"github.com/redis/go-redis/v9"
)

// connect stands for the service's own Redis.
func connect() (*redis.Client, func()) {
	m, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: m.Addr()})
	return rdb, func() {
		rdb.Close()
		m.Close()
	}
}

func Example() {
	rdb, disconnect := connect()
	defer disconnect()
	sem, err := concurrency.NewSemaphore(rdb, "openai", 64)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sem.Close(context.Background())

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	lease, err := sem.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lease.Release()
	call := func(context.Context) string { return "called with a permit" }
	fmt.Println(call(lease.Context())) // ends if the lease is lost
	// Output: called with a permit
}

// A large request isn't overtaken by small ones, and work that somebody waits for goes first, in the whole fleet.
func ExampleSemaphore_AcquireN() {
	rdb, disconnect := connect()
	defer disconnect()
	sem, _ := concurrency.NewSemaphore(rdb, "gpu-memory-gb", 80)
	defer sem.Close(context.Background())

	lease, err := sem.AcquireN(context.Background(), 24, concurrency.WithPriority(concurrency.High))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lease.Release()
	fmt.Println(lease.Permits())
	_, err = sem.AcquireN(context.Background(), 81)
	fmt.Println(errors.Is(err, concurrency.ErrTooLarge), err)
	// Output:
	// 24
	// true semaphore "gpu-memory-gb": the request is larger than the limit: 81 permits of 80
}

func ExampleSemaphore_TryAcquire() {
	rdb, disconnect := connect()
	defer disconnect()
	sem, _ := concurrency.NewSemaphore(rdb, "nightly-report", 1)
	defer sem.Close(context.Background())

	ctx := context.Background()
	lease, err := sem.TryAcquire(ctx)
	fmt.Println(err)
	_, err = sem.TryAcquire(ctx)
	fmt.Println(errors.Is(err, concurrency.ErrFull))
	lease.Release()
	// Output:
	// <nil>
	// true
}

// The limit finds out how much the provider bears: it falls when calls are throttled, and climbs while they succeed.
func ExampleWithAdaptive() {
	rdb, disconnect := connect()
	defer disconnect()
	sem, _ := concurrency.NewSemaphore(rdb, "provider", 200,
		concurrency.WithAdaptive(concurrency.Adaptive{Initial: 50, Gradient: true}))
	defer sem.Close(context.Background())

	lease, _ := sem.Acquire(context.Background())
	status := 429
	switch status {
	case 429, 503:
		lease.Done(concurrency.Overloaded)
	default:
		lease.Done(concurrency.Succeeded)
	}
	// The overload is told in the background.
	for {
		if st, err := sem.Inspect(context.Background()); err != nil || st.Limit < 50 {
			fmt.Println(st.Limit, "of", st.Ceiling)
			break
		}
		time.Sleep(time.Millisecond)
	}
	// Output: 45 of 200
}

func ExampleSemaphore_Inspect() {
	rdb, disconnect := connect()
	defer disconnect()
	sem, _ := concurrency.NewSemaphore(rdb, "exports", 8, concurrency.WithSession("pod-7"))
	defer sem.Close(context.Background())

	ctx := context.Background()
	lease, _ := sem.AcquireN(ctx, 3)
	defer lease.Release()
	st, _ := sem.Inspect(ctx)
	for _, s := range st.Sessions {
		fmt.Printf("%s holds %d of %d, and waits for %d\n", s.Name, s.Held, st.Limit, s.Waiting)
	}
	// Output: pod-7 holds 3 of 8, and waits for 0
}

func ExampleSemaphore_SetLimit() {
	rdb, disconnect := connect()
	defer disconnect()
	sem, _ := concurrency.NewSemaphore(rdb, "batch", 10)
	defer sem.Close(context.Background())

	ctx := context.Background()
	if err := sem.SetLimit(ctx, 20); err != nil { // for every process, at once
		fmt.Println(err)
	}
	lease, err := sem.AcquireN(ctx, 20)
	fmt.Println(err)
	lease.Release()
	// Output: <nil>
}
