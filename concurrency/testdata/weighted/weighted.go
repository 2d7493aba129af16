// Package weighted is golang.org/x/sync/semaphore's interface on a Semaphore, for x/sync's own tests. A Semaphore returns a
// lease for each request, so Weighted keeps the leases and Release picks some of the right sum.
package weighted

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"slices"
	"strconv"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/concurrency"
)

// Weighted stands for x/sync's type of that name.
type Weighted struct {
	sem    *concurrency.Semaphore
	mu     sync.Mutex
	leases []*concurrency.Lease
}

var connect = sync.OnceValue(func() *redis.Client {
	db, _ := strconv.Atoi(os.Getenv("WEIGHTED_DB"))
	return redis.NewClient(&redis.Options{Network: os.Getenv("WEIGHTED_NETWORK"), Addr: os.Getenv("WEIGHTED_ADDR"), DB: db})
})

// NewWeighted returns a semaphore of n permits in the Redis that the environment names.
func NewWeighted(n int64) *Weighted {
	if n < 0 {
		panic("negative size")
	}
	sem, err := concurrency.New(connect(), concurrency.Config{Name: rand.Text(), Limit: int(max(n, 1))})
	if err != nil {
		panic(err)
	}
	return &Weighted{sem: sem}
}

// Acquire waits for n permits. x/sync's tests compare the error itself. Its Acquire of too many permits waits.
func (w *Weighted) Acquire(ctx context.Context, n int64) error {
	if n == 0 {
		return nil
	}
	l, err := w.sem.AcquireN(ctx, check(n))
	switch {
	case errors.Is(err, concurrency.ErrNeverFits):
		<-ctx.Done()
		return ctx.Err()
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case err == nil:
		w.add(l)
	}
	return err
}

// TryAcquire reports whether n permits were free.
func (w *Weighted) TryAcquire(n int64) bool {
	if n == 0 {
		return true
	}
	l, err := w.sem.TryAcquireN(context.Background(), check(n))
	if err == nil {
		w.add(l)
	}
	return err == nil
}

// Release releases leases of n permits together: one of exactly n, or else the oldest that fit.
func (w *Weighted) Release(n int64) {
	size := check(n)
	w.mu.Lock()
	defer w.mu.Unlock()
	exact := slices.IndexFunc(w.leases, func(l *concurrency.Lease) bool { return l.Permits() == size })
	if exact > 0 {
		w.leases[0], w.leases[exact] = w.leases[exact], w.leases[0]
	}
	var kept []*concurrency.Lease
	for _, l := range w.leases {
		if k := int64(l.Permits()); k <= n {
			l.Release()
			n -= k
			continue
		}
		kept = append(kept, l)
	}
	w.leases = kept
	if n > 0 {
		panic("released more than held")
	}
}

func (w *Weighted) add(l *concurrency.Lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leases = append(w.leases, l)
}

func check(n int64) int {
	if n < 0 {
		panic("negative weight")
	}
	return int(n)
}
