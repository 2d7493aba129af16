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
	sem, err := concurrency.New(rdb, concurrency.Config{Name: "openai", Limit: 64})
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

// Small requests don't overtake a large one. In all processes together, a higher priority goes first.
func ExampleSemaphore_AcquireN() {
	rdb, disconnect := connect()
	defer disconnect()
	sem, _ := concurrency.New(rdb, concurrency.Config{Name: "gpu-memory-gb", Limit: 80})
	defer sem.Close(context.Background())

	lease, err := sem.AcquireN(context.Background(), 24, concurrency.WithPriority(concurrency.PriorityHigh))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lease.Release()
	fmt.Println(lease.Permits())
	_, err = sem.AcquireN(context.Background(), 81)
	fmt.Println(errors.Is(err, concurrency.ErrNeverFits), err)
	// Output:
	// 24
	// true semaphore "gpu-memory-gb": the request is larger than the limit: 81 permits of 80: ask for fewer or raise the limit
}

func ExampleSemaphore_TryAcquire() {
	rdb, disconnect := connect()
	defer disconnect()
	sem, _ := concurrency.New(rdb, concurrency.Config{Name: "nightly-report", Limit: 1})
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

// The limit follows what the provider accepts: it falls when calls are throttled, and rises while they succeed.
func ExampleAdaptive() {
	rdb, disconnect := connect()
	defer disconnect()
	sem, _ := concurrency.New(rdb, concurrency.Config{
		Name: "provider", Limit: 200, Adaptive: &concurrency.Adaptive{Initial: 50, Gradient: true},
	})
	defer sem.Close(context.Background())

	lease, _ := sem.Acquire(context.Background())
	status := 429
	switch status {
	case 429, 503:
		lease.Done(concurrency.Dropped)
	default:
		lease.Done(concurrency.Succeeded)
	}
	// The result is reported in the background.
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
	sem, _ := concurrency.New(rdb, concurrency.Config{Name: "exports", Limit: 8, SessionName: "pod-7"})
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
	sem, _ := concurrency.New(rdb, concurrency.Config{Name: "batch", Limit: 10})
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
